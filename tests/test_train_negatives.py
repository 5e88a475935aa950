"""Pictures that are no ECG: enough of them, the same each time, and parts that share none."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("skimage")

from train.negatives import KINDS, negatives
from train.negatives.__main__ import Judged, main, pooled, summarise


def test_each_part_has_enough_of_every_kind():
    for part in ("limits", "measure"):
        listed = list(negatives(part))
        assert len(listed) >= 300
        assert {n.kind for n in listed} == {"photograph", *KINDS}


def test_parts_share_no_photograph():
    of = {
        part: {n.name.rpartition("/")[0] for n in negatives(part) if n.kind == "photograph"}
        for part in ("limits", "measure")
    }
    assert of["limits"]
    assert of["limits"].isdisjoint(of["measure"])


def test_parts_share_no_drawn_picture():
    pairs = zip(negatives("limits"), negatives("measure"), strict=False)
    for one, other in [(a, b) for a, b in pairs if a.kind in ("strip", "code")][::7]:
        first, second = one.image(), other.image()
        assert first.size != second.size or not np.array_equal(first, second)


@pytest.mark.parametrize("kind", ["photograph", *KINDS])
def test_a_picture_is_the_same_each_time(kind):
    chosen = next(n for n in negatives("measure") if n.kind == kind)
    assert np.array_equal(np.asarray(chosen.image()), np.asarray(chosen.image()))


def test_rejections_are_counted_by_group_with_intervals():
    judged = [
        Judged("a", "1", ("too small: scan again",)),
        Judged("a", "2", ()),
        Judged("b", "3", ()),
    ]
    table = summarise(judged)
    assert (table["a"]["n"], table["a"]["rejected"]) == (2, 1)
    assert table["a"]["reasons"] == {"too small": 1}
    rejected, n, (low, high) = pooled(table)
    assert (rejected, n) == (1, 3)
    assert low < 1 / 3 < high


def test_a_folder_without_ecg5_is_named_before_the_long_work(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--data", str(tmp_path)])
    assert ended.value.code == 2
    assert "name the folder that ecg5 is in" in capsys.readouterr().err

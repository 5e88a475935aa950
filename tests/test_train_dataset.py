"""Reading, checking, de-duplicating and splitting a data set."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from runtime.errors import NoInputError, UsageError
from train.dataset import label_of_folder, load
from train.duplicates import join_groups
from train.split import grouped_folds, inner_validation, read_splits, split_rows, write_splits


def picture(seed: int, size: tuple[int, int] = (90, 120)) -> Image.Image:
    rng = np.random.default_rng(seed)
    rough = Image.fromarray(rng.integers(0, 255, (9, 12), dtype=np.uint8))
    return rough.resize((size[1], size[0]), Image.Resampling.BICUBIC)


def save(image: Image.Image, path: Path, quality: int = 95) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=quality)


def folder_of_classes(root: Path) -> Path:
    for i, name in enumerate(["normal", "Abnormal Heartbeat", "covid19"]):
        for j in range(2):
            save(picture(10 * i + j), root / name / f"{j}.jpg")
    return root


def test_folder_a_class_is_read_with_common_spellings(tmp_path: Path) -> None:
    dataset = load(folder_of_classes(tmp_path))
    assert [s.label for s in dataset.samples] == [
        *["abnormal_heartbeat"] * 2,
        *["covid19"] * 2,
        *["normal"] * 2,
    ]
    assert label_of_folder("ECG Images of Myocardial Infarction Patients (240x12)") == (
        "myocardial_infarction"
    )
    assert label_of_folder("thumbnails") == ""


def test_identical_file_is_kept_once(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path)
    (root / "normal" / "copy.jpg").write_bytes((root / "normal" / "0.jpg").read_bytes())
    dataset = load(root)
    assert len(dataset.samples) == 6
    assert dataset.copies == (("normal/0.jpg", "normal/copy.jpg"),)


def test_identical_files_of_two_classes_are_both_left_out(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path)
    (root / "covid19" / "copy.jpg").write_bytes((root / "normal" / "0.jpg").read_bytes())
    dataset = load(root)
    assert not {"normal/0.jpg", "covid19/copy.jpg"} & {s.path for s in dataset.samples}
    assert dataset.conflicts == (("covid19/copy.jpg", "normal/0.jpg"),)


def test_re_encoded_copy_shares_the_group_of_its_original(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path)
    save(Image.open(root / "normal" / "0.jpg").resize((100, 75)), root / "normal" / "small.jpg", 60)
    dataset = load(root)
    assert dataset.look_alikes == (("normal/0.jpg", "normal/small.jpg"),)
    group = dict(zip((s.path for s in dataset.samples), dataset.groups, strict=True))
    assert group["normal/small.jpg"] == group["normal/0.jpg"]
    assert len(set(group.values())) == 6


def test_broken_file_is_named_and_the_rest_used(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path)
    (root / "normal" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    dataset = load(root)
    assert len(dataset.samples) == 6
    assert dataset.unreadable[0][0] == "normal/broken.jpg"


def test_empty_or_missing_folder_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="folder a class"):
        load(tmp_path)
    with pytest.raises(NoInputError, match="is not a folder"):
        load(tmp_path / "nowhere")


def test_manifest_with_unknown_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,class\na.jpg,broken-heart\n")
    with pytest.raises(UsageError, match="broken-heart"):
        load(tmp_path)


def test_groups_join_over_sessions_near_duplicates_and_pairs() -> None:
    keys = [["s1"], ["s1", "d1"], ["d1"], ["s2"], ["s3"], []]
    assert join_groups(keys, [(3, 4)]) == [0, 0, 0, 1, 1, 2]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 5))
def test_no_group_is_ever_parted_by_a_split(seed: int, folds: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 30, 120)
    labels = rng.integers(0, 5, 120)
    fold = grouped_folds(labels, groups.tolist(), folds, seed)
    assert set(fold) <= set(range(folds))
    for group in np.unique(groups):
        assert len(set(fold[groups == group])) == 1
    aside = inner_validation(labels, groups, 0.2, seed)
    assert not set(groups[aside]) & set(groups[~aside])


def test_same_seed_same_split_and_csv_round_trip(tmp_path: Path) -> None:
    dataset = load(folder_of_classes(tmp_path / "data"))
    first = grouped_folds(dataset.labels, dataset.groups, 2, 7)
    again = grouped_folds(dataset.labels, dataset.groups, 2, 7)
    assert first.tolist() == again.tolist()
    rows = split_rows(dataset, first)
    write_splits(tmp_path / "splits.csv", rows)
    assert read_splits(tmp_path / "splits.csv") == rows
    with (tmp_path / "splits.csv").open() as stream:
        assert next(csv.reader(stream)) == [
            "path",
            "class",
            "session_group",
            "near_duplicate_group",
            "fold",
            "sha256",
        ]


def test_more_folds_than_groups_is_refused() -> None:
    with pytest.raises(UsageError, match="groups"):
        grouped_folds(np.zeros(4, int), [0, 0, 1, 1], 3, 0)

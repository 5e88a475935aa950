"""Smaller copies of the pages are read once, kept, and left out where they were misread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.preprocess import Preprocess
from train import reduced
from train.dataset import load
from train.draw import draw_page, encode_page, heart_of_class, synthesise
from train.reduced import SIZES, load_reduced


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pages")
    (root / "normal").mkdir()
    for i in range(2):
        page = draw_page(synthesise(heart_of_class("normal", i), i), "report", i, layout="3x4+1")
        (root / "normal" / f"{i}.jpg").write_bytes(encode_page(*page)[0])
    (root / "normal" / "blank.jpg").write_bytes(encode_page(*_blank())[0])
    return root


def _blank() -> tuple:
    page, truth = draw_page(synthesise(heart_of_class("normal", 9), 9), "report", 9)
    return page.resize((16, 12)).resize(page.size), truth


def test_smaller_pages_give_nearly_the_same_signals(folder: Path, tmp_path: Path) -> None:
    pages, preprocess = load(folder), Preprocess()
    layouts = np.array(["unknown" if "blank" in s.path else "3x4+1" for s in pages.samples])
    signals = load_reduced(pages, layouts, preprocess, tmp_path / "reduced.npz")
    assert signals.shape == (len(SIZES), 3, 12, preprocess.samples)
    for i, sample in enumerate(pages.samples):
        whole = _signals(folder / sample.path, preprocess)
        for size in range(len(SIZES)):
            if "blank" in sample.path:
                assert np.isnan(signals[size, i]).all()
            else:
                apart = np.nanmean(np.abs(signals[size, i] - whole))
                assert 0.0 < apart < 0.05
    other = load_reduced(pages, np.array(["6x2"] * 3), preprocess, tmp_path / "reduced.npz")
    assert np.isnan(other).all()


def _signals(path: Path, preprocess: Preprocess) -> np.ndarray:
    from train.tensors import read_page

    return read_page(path, preprocess)[1]


def test_what_was_read_is_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages, layouts, file = load(folder), np.array(["3x4+1"] * 3), tmp_path / "reduced.npz"
    first = load_reduced(pages, layouts, Preprocess(), file)
    monkeypatch.setattr(reduced, "ProcessPoolExecutor", None)
    assert np.array_equal(load_reduced(pages, layouts, Preprocess(), file), first, equal_nan=True)
    monkeypatch.setattr(reduced, "SIZES", (0.5,))
    with pytest.raises(TypeError):
        load_reduced(pages, layouts, Preprocess(), file)

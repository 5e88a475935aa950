"""The first input is read in a thread and comes out as if it had been read in its turn."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sample_files import ecg_page, saved

from runtime.ahead import ReadAhead, first_ahead
from runtime.errors import PageError
from runtime.inputs import Input

PAGE = saved(ecg_page(), "JPEG")


def test_only_the_first_input_is_begun_and_the_order_stays() -> None:
    asked: list[int] = []

    def inputs() -> Iterator[Input]:
        for number in range(3):
            asked.append(number)
            yield Input(f"{number}.jpg", PAGE)

    found = first_ahead(inputs())
    assert asked == [0]
    items = list(found)
    assert [type(item) for item in items] == [ReadAhead, Input, Input]
    assert [item.source for item in items] == ["0.jpg", "1.jpg", "2.jpg"]
    assert items[0].read() == PAGE
    assert list(first_ahead([])) == []


def test_the_page_is_decoded_in_the_thread_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.picture import PictureDocument

    where = []
    read = PictureDocument.read

    def watched(self: PictureDocument, number: int) -> object:
        where.append(threading.current_thread())
        return read(self, number)

    monkeypatch.setattr(PictureDocument, "read", watched)
    item = ReadAhead(Input("page.jpg", PAGE))
    with item.open(item.read()) as document:
        page = document.read(1)
        assert where != [threading.main_thread()]
        assert len(where) == 1
        again = document.read(1)
    with Input("page.jpg", PAGE).open(PAGE) as document:
        direct = document.read(1)
    assert item.read() == PAGE
    assert np.array_equal(page.grey, direct.grey)
    assert np.array_equal(page.grey, again.grey)


def test_without_a_thread_to_be_had_the_page_is_read_in_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    item = ReadAhead(Input("page.jpg", PAGE))
    with item.open(item.read()) as document:
        assert document.read(1).format == "JPEG"


def test_every_page_of_a_document_comes_out(tmp_path: Path) -> None:
    pages = [ecg_page().convert("L").resize((600, 400 + 10 * k)) for k in range(3)]
    path = tmp_path / "three.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    item = ReadAhead(Input(str(path)))
    with item.open(item.read()) as document:
        assert document.page_count == 3
        assert document.format == "TIFF"
        sizes = [document.read(number).original_size for number in (1, 2, 3)]
        assert document.picture(2).size == (600, 410)
    assert sizes == [(600, 400), (600, 410), (600, 420)]


def test_faults_are_told_where_they_would_have_happened(tmp_path: Path) -> None:
    missing = ReadAhead(Input(str(tmp_path / "no.jpg")))
    with pytest.raises(PageError, match="no such file"):
        missing.read()
    text = ReadAhead(Input("page.jpg", b"hello, this is a letter"))
    assert text.read().startswith(b"hello")
    with pytest.raises(PageError, match="text file"):
        text.open(text.read())
    cut = ReadAhead(Input("page.jpg", PAGE[: len(PAGE) // 2]))
    with cut.open(cut.read()) as document, pytest.raises(PageError, match="ends too early"):
        document.read(1)

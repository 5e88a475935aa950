"""From names to inputs: folders, patterns, lists, and everything that is no page."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from runtime.errors import NoInputError, PageError
from runtime.inputs import Input, expand, read_input, read_list


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "notes.txt", "sub/c.tif", "sub/deeper/d.pdf"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def names(folder: Path, *given: str, recursive: bool = False) -> list[str]:
    return [os.path.relpath(item.source, folder) for item in expand(given, recursive)]


def test_a_folder_gives_its_pages_in_name_order(folder: Path) -> None:
    assert names(folder, str(folder)) == ["a.PNG", "b.jpg"]


def test_recursion_descends_only_when_asked(folder: Path) -> None:
    found = names(folder, str(folder), recursive=True)
    assert found == ["a.PNG", "b.jpg", "sub/c.tif", "sub/deeper/d.pdf"]


def test_a_pattern_gives_its_matches_in_name_order(folder: Path) -> None:
    assert names(folder, str(folder / "*.*")) == ["a.PNG", "b.jpg", "notes.txt"]


def test_a_name_with_pattern_characters_that_exists_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "scan[1].jpg").write_bytes(b"x")
    (tmp_path / "scan1.jpg").write_bytes(b"y")
    assert names(tmp_path, str(tmp_path / "scan[1].jpg")) == ["scan[1].jpg"]


def test_inputs_keep_the_order_they_were_named_in(folder: Path) -> None:
    given = [str(folder / "b.jpg"), str(folder / "sub"), str(folder / "a.PNG")]
    assert names(folder, *given) == ["b.jpg", "sub/c.tif", "a.PNG"]


def test_expansion_is_lazy(folder: Path) -> None:
    stream = expand([str(folder / "b.jpg"), str(folder / "new")])
    next(stream)
    (folder / "new").mkdir()
    (folder / "new" / "late.jpg").write_bytes(b"")
    assert next(stream).source.endswith("late.jpg")


def test_a_list_is_answered_line_by_line(tmp_path: Path) -> None:
    paths = tmp_path / "list"
    paths.write_bytes(b"one.jpg\r\n\ntwo words.png\nlast.tif")
    assert [item.source for item in read_list(str(paths))] == [
        "one.jpg",
        "two words.png",
        "last.tif",
    ]


def test_a_missing_list_is_no_input() -> None:
    with pytest.raises(NoInputError, match="one path a line"):
        next(iter(read_list("/nowhere/list")))


def test_stdin_bytes_are_an_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xd8")))
    assert list(expand(["-"])) == [Input("stdin", b"\xff\xd8")]


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _broken_link(path: Path) -> None:
    path.symlink_to(path.parent / "gone")


def _loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_fifo, "not a regular file"),
        (_folder, "a folder, not a page"),
        (_broken_link, "points to a file that does not exist"),
        (_loop, "cannot be opened"),
        (lambda path: None, "no such file"),
    ],
)
def test_what_is_no_file_has_a_clear_reason(tmp_path: Path, make, reason: str) -> None:
    path = tmp_path / "x.jpg"
    make(path)
    (item,) = expand([str(path)])
    with pytest.raises(PageError, match=reason):
        read_input(item)


def test_a_name_with_a_zero_byte_is_a_page_error() -> None:
    with pytest.raises(PageError, match="not a valid file name"):
        read_input(Input("a\0.jpg"))


def test_a_file_beyond_the_size_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    with path.open("wb") as file:
        file.truncate(3 * 2**30)  # sparse
    with pytest.raises(PageError, match="too large"):
        read_input(Input(str(path)))

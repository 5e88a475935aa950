"""What the archive command lists and reads: folders, globs, lists, zips, object stores."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("fsspec")

from archive_stub import write_pages

from runtime.archive.source import PageFile, list_pages, read_page, with_facts
from runtime.errors import ExitCode, NoInputError, PageError
from runtime.inputs import expand


def names(source: str | Path) -> list[str]:
    return [os.path.basename(file.source) for file in list_pages(str(source))]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "pages"
    write_pages(
        folder,
        {"top.png": "t", "north/b.jpg": "b", "north/deep/c.pdf": "c", "south/a.jpg": "a"},
    )
    (folder / "north" / "notes.txt").write_text("no page")
    return folder


def test_folder_lists_the_files_that_classify_reads(archive: Path) -> None:
    found = [file.source for file in list_pages(str(archive))]
    assert found == [item.source for item in expand([str(archive)], recursive=True)]
    assert len(found) == 4


def test_relative_folder_gives_absolute_sources(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(archive.parent)
    assert all(os.path.isabs(file.source) for file in list_pages("pages"))


def test_site_is_the_first_folder_below_the_source(archive: Path) -> None:
    sites = {os.path.basename(f.source): f.site for f in list_pages(str(archive))}
    assert sites == {"top.png": "", "b.jpg": "north", "c.pdf": "north", "a.jpg": "south"}


def test_glob_takes_its_matches_and_their_sites(archive: Path) -> None:
    found = {os.path.basename(f.source): f.site for f in list_pages(f"{archive}/*/*.jpg")}
    assert found == {"b.jpg": "north", "a.jpg": "south"}


def test_list_file_keeps_its_order_and_its_missing_pages(archive: Path, tmp_path: Path) -> None:
    listing = tmp_path / "pages.txt"
    listing.write_text(f"{archive}/south/a.jpg\n\n{archive}/gone.jpg\n{archive}/top.png\n")
    assert names(listing) == ["a.jpg", "gone.jpg", "top.png"]


def test_csv_list_is_read_by_its_path_column(archive: Path, tmp_path: Path) -> None:
    listing = tmp_path / "pages.csv"
    listing.write_text(f'label,path\nnormal,"{archive}/south/a.jpg"\ncovid19,{archive}/top.png\n')
    assert names(listing) == ["a.jpg", "top.png"]


def test_zip_is_listed_and_read_with_sites_and_stamps(archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "pages.zip"
    with zipfile.ZipFile(target, "w") as file:
        for path in sorted(archive.rglob("*")):
            file.write(path, path.relative_to(archive))
    found = list(list_pages(str(target)))
    assert [(f.source, f.site) for f in found] == [
        (f"zip://north/b.jpg::{target}", "north"),
        (f"zip://north/deep/c.pdf::{target}", "north"),
        (f"zip://south/a.jpg::{target}", "south"),
        (f"zip://top.png::{target}", ""),
    ]
    assert [read_page(f) for f in found] == [b"b", b"c", b"a", b"t"]
    assert all(f.stamp and f.modified and f.size == 1 for f in found)


def test_object_store_url_is_walked_in_name_order() -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    for name in ("z.jpg", "site b/2.jpg", "site b/1.jpg", "site a/x.txt"):
        store.pipe_file(f"/walked/{name}", name.encode())
    found = list(list_pages("memory://walked"))
    assert [f.source for f in found] == [
        "memory:///walked/site b/1.jpg",
        "memory:///walked/site b/2.jpg",
        "memory:///walked/z.jpg",
    ]
    assert [f.site for f in found] == ["site b", "site b", ""]
    assert read_page(found[0]) == b"site b/1.jpg"


def test_object_store_glob() -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    for name in ("s1/a.jpg", "s1/b.png", "s2/c.jpg"):
        store.pipe_file(f"/globbed/{name}", b"x")
    found = list(list_pages("memory://globbed/*/*.jpg"))
    assert [(f.source.rpartition("/")[2], f.site) for f in found] == [
        ("a.jpg", "s1"),
        ("c.jpg", "s2"),
    ]


@pytest.mark.parametrize("source", ["/nowhere/at/all", "memory://nowhere", "nosuch://x/y"])
def test_missing_source_is_told_at_once(source: str) -> None:
    with pytest.raises(NoInputError):
        list_pages(source)


def test_store_without_its_package_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    import runtime.archive.source as module

    def refuse(url: str) -> None:
        raise ImportError("Install gcsfs to access Google Storage")

    monkeypatch.setattr(module, "url_to_fs", refuse)
    with pytest.raises(Exception, match="Install gcsfs") as raised:
        list_pages("gs://bucket/pages")
    assert raised.value.exit_code == ExitCode.MISSING  # type: ignore[attr-defined]


def test_stamp_follows_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_text("one")
    first = with_facts(PageFile(str(path)))
    assert with_facts(PageFile(str(path))) == first
    path.write_text("other")
    assert with_facts(PageFile(str(path))).stamp != first.stamp


def test_missing_page_is_a_page_error_in_store_and_folder(tmp_path: Path) -> None:
    for source in (str(tmp_path / "gone.jpg"), "memory://gone/x.jpg"):
        file = with_facts(PageFile(source))
        assert file.stamp == ""
        with pytest.raises(PageError, match="no such file"):
            read_page(file)


def test_oversized_object_is_refused_unread() -> None:
    with pytest.raises(PageError, match="too large"):
        read_page(PageFile("memory://huge.jpg", size=10**9))

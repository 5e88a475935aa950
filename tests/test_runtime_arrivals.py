from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.mounts import file_system, is_network_share, mount_point
from runtime.watch.answers import answer_name
from runtime.watch.arrivals import find_pages, may_be_page, starts_like_page, take


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "A.JPEG", "scan.Tif", "x.pdf", "x.dcm", "IM0001", "1.2.840.10008.1", "a b.png"],
)
def test_names_that_may_be_pages(name: str) -> None:
    assert may_be_page(name)


@pytest.mark.parametrize(
    "name",
    "a.xml b.CDB c.slw .a.jpg ~$a.pdf a.jpg.part a.tmp a.txt a.ecg.json a.pdf.page-2".split(),
)
def test_names_that_are_no_pages(name: str) -> None:
    assert not may_be_page(name)


def test_first_bytes_tell_a_page_without_a_telling_name() -> None:
    assert starts_like_page(b"\xff\xd8\xff\xe0")
    assert starts_like_page(b"junk\n%PDF-1.4")
    assert starts_like_page(b"\0" * 128 + b"DICM")
    assert starts_like_page(b"RIFF\0\0\0\0WEBPVP8 ")
    assert not starts_like_page(b"<?xml version='1.0'?>")
    assert not starts_like_page(b"")


def test_all_answer_names_of_a_folder_differ() -> None:
    names = [
        "a.jpg",
        "a.png",
        "a",
        "a.1",
        "a.jpg.1",
        "b/a.jpg",
        "n" * 250 + ".jpg",
        "n" * 251 + ".jpg",
    ]
    made = [answer_name(name, page, "json") for name in names for page in (1, 2, 12)]
    assert len(set(made)) == len(made)
    assert all(len(os.fsencode(name.split("/")[-1])) <= 255 for name in made)


def test_folders_are_descended_but_links_are_not(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deeper").mkdir(parents=True)
    (tmp_path / "sub" / "deeper" / "a.jpg").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    found = [file.name for file in find_pages(tmp_path, lambda name, why: None)]
    assert found == ["sub/deeper/a.jpg"]


def test_missing_folder_is_an_error_and_a_missing_subfolder_is_not(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(find_pages(tmp_path / "none", lambda name, why: None))
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.jpg").touch()
    looked = find_pages(tmp_path, lambda name, why: None)
    assert next(looked).name == "a.jpg"
    (tmp_path / "sub").rmdir()
    assert list(looked) == []


def test_subfolder_that_cannot_be_read_does_not_hide_the_others(tmp_path, monkeypatch) -> None:
    for name in ("bad", "good"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").touch()
    real = os.scandir

    def scandir(path):
        if str(path).endswith("bad"):
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    refused = []
    found = [file.name for file in find_pages(tmp_path, lambda *words: refused.append(words))]
    assert found == ["good/a.jpg"]
    assert refused == [("bad", "this folder cannot be read (Input/output error)")]


def test_file_that_changes_while_it_is_read_is_not_taken(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    real = os.fstat
    calls = iter(range(10))

    def grown(descriptor: int) -> os.stat_result:
        if next(calls) == 1:
            with path.open("ab") as file:
                file.write(b"two")
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", grown)
    assert take(path) is None


def test_link_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic link"):
        take(tmp_path / "a.jpg")


def test_file_system_is_read_from_the_table_of_mounts(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "30 22 0:50 / /mnt/ecg\\040share rw shared:1 - cifs //nas/ecg rw\n"
    )
    assert file_system(Path("/mnt/ecg share/in"), table) == "cifs"
    assert file_system(Path("/mnt"), table) == "ext4"
    assert is_network_share("cifs")
    assert not is_network_share("ext4")
    assert not is_network_share(None)


def test_mount_point_holds_the_path(tmp_path: Path) -> None:
    point = mount_point(tmp_path)
    assert os.path.ismount(point)
    assert tmp_path.resolve().is_relative_to(point)

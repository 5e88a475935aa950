"""Lists the page files of a folder, glob, list, object store or zip, and reads them one by one."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

from fsspec.core import url_to_fs

from runtime.errors import EcgEdgeError, ExitCode, NoInputError, PageError
from runtime.inputs import (
    MAX_FILE_BYTES,
    STDIN,
    Input,
    expand,
    looks_like_page,
    read_input,
    read_list,
)

__all__ = ["PageFile", "SourceError", "is_url", "list_pages", "read_page", "with_facts"]

_URL: Final = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*(://|::)")
_MAGIC: Final = re.compile(r"[*?\[]")


class SourceError(EcgEdgeError):
    """The store that holds the pages does not answer: credentials, network, name."""

    exit_code = ExitCode.NO_INPUT


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of the archive, as its listing shows it."""

    source: str
    """Absolute local path or URL: what the record shows as ``source``."""
    site: str = ""
    """First folder below SOURCE, for a list the folder the file lies in; "" at the top."""
    size: int | None = None
    """Bytes; None where the listing does not tell."""
    stamp: str = ""
    """Changes when the content does (entity tag, checksum, or size and time); "" if unknown."""
    modified: float | None = None
    """Time of the last change, seconds since 1970 (UTC)."""


def is_url(text: str) -> bool:
    """Tell a URL (``s3://...``, ``zip://...::...``) from a local path."""
    return bool(_URL.match(text))


def absolute(text: str) -> str:
    """Return a local path as an absolute one, so that it means the same on every worker."""
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    return text if is_url(text) else os.path.abspath(text)


def list_pages(source: str) -> Iterator[PageFile]:
    """Yield the page files of a source, in an order that stays the same from run to run.

    Listings are read folder by folder; no list of all names is ever held.

    Parameters
    ----------
    source : str
        A folder (read with its subfolders), a quoted glob, a page, a text file with one path a
        line, a CSV file with a column ``path``, a ``.zip``, ``-`` (paths on stdin), or any URL
        that fsspec opens.

    Raises
    ------
    NoInputError, SourceError
        If the source does not exist or does not answer.
    """
    place = source if source == STDIN else absolute(source)
    if is_url(place):
        return _list_url(place)
    if place == STDIN:
        return _listed(item.source for item in read_list(STDIN))
    if os.path.isfile(place) and place.lower().endswith(".zip"):
        return _list_url(f"zip://::{place}")
    if os.path.isfile(place) and not looks_like_page(place):
        return _listed(_lines(place))
    if not os.path.lexists(place) and not _MAGIC.search(place):
        raise NoInputError(f"{source}: there is no such folder or file", "check the name")
    return _list_local(place)


def with_facts(file: PageFile) -> PageFile:
    """Return the file with size, stamp and time looked up, where its listing did not tell them.

    A file that cannot be looked up is returned as it is: reading it will say why.
    """
    if file.stamp:
        return file
    try:
        if not is_url(file.source):
            status = os.stat(file.source)
            stamp = f"{status.st_size}-{status.st_mtime_ns}"
            return replace(file, size=status.st_size, stamp=stamp, modified=status.st_mtime)
        system, path = url_to_fs(file.source)
        info = system.info(path)
    except Exception:
        return file
    return replace(file, size=info.get("size"), stamp=_stamp(info), modified=_modified(info))


def read_page(file: PageFile) -> bytes:
    """Return the bytes of a page file.

    Raises
    ------
    PageError
        If this file cannot be read.
    SourceError
        If it is not the file but the store that fails.
    """
    if not is_url(file.source):
        return read_input(Input(file.source))
    if file.size is not None and file.size > MAX_FILE_BYTES:
        raise _too_large(file.size)
    try:
        system, path = url_to_fs(file.source)
        if file.size is not None:
            return bytes(system.cat_file(path))
        with system.open(path, "rb") as stream:
            data = bytes(stream.read(MAX_FILE_BYTES + 1))
    except FileNotFoundError as fault:
        raise PageError("there is no such file", "check the name") from fault
    except PermissionError as fault:
        raise PageError(
            "no permission to read this file", "give this account read permission"
        ) from fault
    except Exception as fault:
        raise SourceError(
            f"the store did not deliver this page ({type(fault).__name__})",
            "check network and credentials, then start the same command again",
        ) from fault
    if len(data) > MAX_FILE_BYTES:
        raise _too_large(len(data))
    return data


def _too_large(size: int) -> PageError:
    return PageError(
        f"the file is too large ({size / 1e6:.0f} MB, the limit is {MAX_FILE_BYTES / 1e6:.0f} MB)",
        "save the page at 300 dpi or less",
    )


def _list_local(place: str) -> Iterator[PageFile]:
    """Yield the same files as ``classify -r`` reads."""
    root = place
    while _MAGIC.search(root) and not os.path.lexists(root):
        root = os.path.dirname(root)
    for item in expand([place], recursive=True):
        yield PageFile(item.source, _site(os.path.relpath(item.source, root)))


def _listed(names: Iterator[str]) -> Iterator[PageFile]:
    for name in names:
        source = absolute(name)
        parent = source.rpartition("/")[0]
        yield PageFile(source, "" if parent.endswith(":/") else parent.rpartition("/")[2])


def _lines(place: str) -> Iterator[str]:
    """Yield the paths of a list: one a line, or the column ``path`` of a CSV file."""
    lines = (item.source for item in read_list(place))
    first = next(lines, None)
    if first is None:
        return iter(())
    columns = next(csv.reader([first]), [])
    if "path" not in columns:
        return chain([first], lines)
    rows = csv.DictReader(lines, fieldnames=columns)
    return (row["path"] for row in rows if row["path"])


def _list_url(url: str) -> Iterator[PageFile]:
    """Open the store at once, so that a wrong name is reported before any worker starts."""
    try:
        system, path = url_to_fs(url)
        if _MAGIC.search(path) and not system.exists(path):
            root = path[: _MAGIC.search(path).start()].rpartition("/")[0]  # type: ignore[union-attr]
            found = iter(sorted(system.glob(path, detail=True).items()))
            return _files(system, url, root, (info for _, info in found))
        info = system.info(path) if path.strip("/") else {"type": "directory"}
    except ImportError as fault:
        raise _not_installed(url, fault) from fault
    except ValueError as fault:
        raise NoInputError(f"{url}: {fault}", "name a URL that fsspec knows") from fault
    except FileNotFoundError as fault:
        raise NoInputError(f"{url}: there is no such place", "check the name") from fault
    except Exception as fault:
        raise SourceError(
            f"{url}: the store does not answer ({type(fault).__name__}: {fault})",
            "check name, network and credentials",
        ) from fault
    if info["type"] != "directory":
        return _files(system, url, path.rpartition("/")[0], iter([info]))
    return _files(system, url, path, _walk(system, path))


def _walk(system: Any, folder: str) -> Iterator[Mapping[str, Any]]:
    """Yield the files below a folder in name order, holding one folder's listing a level."""
    try:
        entries = sorted(system.ls(folder, detail=True), key=lambda entry: str(entry["name"]))
    except Exception as fault:
        raise SourceError(
            f"{folder}: cannot be listed ({type(fault).__name__}: {fault})",
            "check network and credentials, then start the same command again",
        ) from fault
    # Stores keep every listing they ever made; ten million names would stay in memory.
    system.invalidate_cache()
    for entry in entries:
        if str(entry["name"]).strip("/") == folder.strip("/"):
            continue  # the empty object that some tools write to mark a folder
        if entry["type"] == "directory":
            yield from _walk(system, str(entry["name"]))
        else:
            yield entry


def _files(
    system: Any, url: str, root: str, infos: Iterator[Mapping[str, Any]]
) -> Iterator[PageFile]:
    prefix = root.strip("/")
    for info in infos:
        name = str(info["name"])
        if info["type"] == "directory" or not looks_like_page(name):
            continue
        yield PageFile(
            source=_address(system, url, name),
            site=_site(name.strip("/").removeprefix(prefix).strip("/")),
            size=info.get("size"),
            stamp=_stamp(info),
            modified=_modified(info),
        )


def _address(system: Any, url: str, name: str) -> str:
    """Return a file's own URL; a chained one (``zip://...::archive``) keeps its tail."""
    first, chained, tail = url.partition("::")
    if chained:
        return f"{first.partition('://')[0]}://{name.lstrip('/')}::{tail}"
    return str(system.unstrip_protocol(name))


def _site(relative: str) -> str:
    """Return the first folder of a path below the source."""
    first, slash, _ = relative.partition("/")
    return first if slash and first != ".." else ""


def _stamp(info: Mapping[str, Any]) -> str:
    """Return what changes when the content does; "" where the store tells nothing of the kind.

    S3 and Azure give entity tags, Google a generation and checksums, zip a CRC; sftp and the rest
    size and time.
    """
    for key in ("ETag", "etag", "generation", "md5Hash", "crc32c", "CRC", "checksum"):
        if info.get(key):
            return f"{info.get('size')}-{str(info[key]).strip(chr(34))}"
    for key in ("mtime", "LastModified", "last_modified", "modified"):
        if info.get(key):
            return f"{info.get('size')}-{info[key]}"
    return ""


def _modified(info: Mapping[str, Any]) -> float | None:
    """Return the time of the last change from whatever form the store gives it in."""
    for key in ("LastModified", "last_modified", "mtime", "updated", "date_time", "created"):
        moment = info.get(key)
        if isinstance(moment, (int, float)):
            return float(moment)
        if isinstance(moment, (tuple, list)) and len(moment) >= 6:
            moment = datetime(*moment[:6])  # zip: local time without a zone
        if isinstance(moment, str):
            try:
                moment = datetime.fromisoformat(moment)
            except ValueError:
                continue
        if isinstance(moment, datetime):
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None


def _not_installed(url: str, fault: ImportError) -> EcgEdgeError:
    error = SourceError(
        f"{url.partition('://')[0]}:// needs a package that is not installed ({fault})",
        "install it here and on every worker, for example: pip install s3fs",
    )
    error.exit_code = ExitCode.MISSING
    return error

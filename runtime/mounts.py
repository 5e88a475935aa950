"""Tells which file system a path lies on, and whether it is still mounted."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Final

__all__ = ["Mount", "file_system", "is_network_share", "mount_point"]

_SHARES: Final = frozenset(
    "nfs nfs4 cifs smb3 smbfs 9p afs ceph glusterfs lustre fuse.sshfs fuse.davfs davfs "
    "fuse.glusterfs fuse.rclone fuse.smbnetfs fuse.s3fs".split()
)
_MOUNTS: Final = Path("/proc/self/mountinfo")


def file_system(path: Path, table: Path = _MOUNTS) -> str | None:
    """Return the type of the file system a path lies on, for example ``"ext4"``.

    Parameters
    ----------
    path : Path
        It need not exist.
    table : Path
        The kernel's table of mounts, proc(5).

    Returns
    -------
    str or None
        None where the system tells none.
    """
    resolved = path.resolve()
    found: dict[str, str] = {}
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) >= 5 and kind:
            # Spaces and the like stand as octal numbers; a later mount covers an earlier one.
            found[re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[4])] = kind[0]
    for place in (resolved, *resolved.parents):
        if (kind_here := found.get(str(place))) is not None:
            return kind_here
    return None


def is_network_share(kind: str | None) -> bool:
    """Tell whether a type of file system is a network share's."""
    return kind in _SHARES


class Mount:
    """The mount that an existing path lies on now, and is to lie on later.

    Where a share is not mounted its mount point is an ordinary folder: what is written there
    would be lost from sight once the share is back.
    """

    def __init__(self, path: Path) -> None:
        self._point = mount_point(path)

    def check(self) -> None:
        """Raise an OSError if nothing is mounted there any more."""
        if not os.path.ismount(self._point):
            raise OSError(errno.ENODEV, "its share is not mounted")


def mount_point(path: Path) -> Path:
    """Return the folder at which the file system of an existing path is mounted."""
    place = path.resolve()
    while not os.path.ismount(place):
        place = place.parent
    return place

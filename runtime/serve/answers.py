"""What a worker of the service gives back for one upload."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Answers"]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a worker says to one upload.

    Attributes
    ----------
    records : list of dict
        One a page.
    explanations : list of dict
        Where asked for, one a page: how the evidence was found and the leads that carried the
        answer.
    pictures : list of bytes
        Where asked for, one PNG a page.
    """

    records: list[dict[str, Any]]
    explanations: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)

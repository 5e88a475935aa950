"""`Record` is to its users what `typing.NamedTuple` is."""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple

import pytest

from runtime.record import Record


class Ours(Record):
    """A point."""

    x: int
    y: float = 2.5
    name: str = "p"

    @property
    def double(self) -> int:
        """Twice x."""
        return 2 * self.x


class Theirs(NamedTuple):
    """The same, by the standard library."""

    x: int
    y: float = 2.5
    name: str = "p"


class Child(Ours):
    """Fields come from the parent."""


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((1,), {}),
        ((1, 2.0), {}),
        ((1, 2.0, "q"), {}),
        ((), {"x": 1}),
        ((1,), {"name": "q"}),
        ((), {"name": "q", "y": 0.0, "x": -1}),
    ],
)
def test_it_holds_what_a_named_tuple_holds(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    ours, theirs = Ours(*values, **named), Theirs(*values, **named)
    assert ours == theirs
    assert hash(ours) == hash(theirs)
    assert ours._asdict() == theirs._asdict()
    assert (ours.x, ours.y, ours.name) == tuple(theirs)
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert Ours._fields == Theirs._fields
    assert Ours._field_defaults == Theirs._field_defaults


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((), {}),
        ((), {"y": 1.0}),
        ((1, 2.0, "q", 4), {}),
        ((1,), {"x": 1}),
        ((1,), {"z": 1}),
        ((1, 2.0, "q"), {"name": "r"}),
    ],
)
def test_it_refuses_what_a_named_tuple_refuses(
    values: tuple[Any, ...], named: dict[str, Any]
) -> None:
    for kind in (Theirs, Ours):
        with pytest.raises(TypeError):
            kind(*values, **named)


def test_a_change_makes_another_record() -> None:
    first = Ours(1)
    second = first._replace(name="q")
    assert (first, second) == (Ours(1), Ours(1, 2.5, "q"))
    assert type(second) is Ours
    with pytest.raises((TypeError, ValueError)):
        first._replace(z=1)
    for name in ("x", "other"):
        with pytest.raises(AttributeError):
            setattr(first, name, 3)


def test_it_travels_matches_and_has_children() -> None:
    record = Ours(3, name="q")
    back = pickle.loads(pickle.dumps(record))  # how workers send records; never a file
    assert back == record
    assert type(back) is Ours
    match record:
        case Ours(x, _, name):
            assert (x, name) == (3, "q")
    assert Child(4).double == 8

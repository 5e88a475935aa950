"""The index of what a destination holds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.archive.held import KEY_BYTES, Held, HeldRows, Seen, key_of

KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)


def rows(part: str, *sources: str) -> HeldRows:
    keys = [key_of(s) for s in sources]
    return HeldRows(part, keys, [f"stamp {s}" for s in sources], [False] * len(sources))


def test_find_tells_held_from_missing() -> None:
    held = Held([rows("p0", "a", "b"), rows("p1", "c")])
    places = held.find([key_of("c"), key_of("nothing"), key_of("a")])
    assert held.part_of(int(places[0])) == "p1"
    assert places[1] == -1
    assert held.is_current(int(places[2]), "stamp a")
    assert not held.is_current(int(places[2]), "stamp b")


def test_unknown_stamp_is_never_current() -> None:
    held = Held([HeldRows("p", [key_of("a")], [""], [False])])
    assert not held.is_current(0, "")


def test_surplus_names_the_later_part_and_leaves_one() -> None:
    held = Held([rows("p0", "a", "b"), rows("p1", "b", "c"), rows("p2", "b")])
    assert held.surplus() == {"p1": {key_of("b")}, "p2": {key_of("b")}}


def test_pages_of_one_document_are_no_surplus() -> None:
    assert Held([rows("p0", "a", "a", "a")]).surplus() == {}


def test_empty_index_holds_nothing() -> None:
    assert list(Held().find([key_of("a")])) == [-1]
    assert Held().surplus() == {}


@settings(max_examples=60, deadline=None)
@given(st.lists(KEYS, unique=True, max_size=40), st.lists(KEYS, max_size=10))
def test_find_agrees_with_a_set(inside: list[bytes], others: list[bytes]) -> None:
    held = Held([HeldRows("p", inside, ["s"] * len(inside), [False] * len(inside))])
    wanted = inside[::2] + others
    places = held.find(wanted) if wanted else []
    assert [place >= 0 for place in places] == [key in set(inside) for key in wanted]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([bytes([i]) + bytes(15) for i in range(8)]), max_size=40))
def test_seen_tells_each_key_once_across_merges(keys: list[bytes]) -> None:
    seen = Seen()
    known: set[bytes] = set()
    for i, key in enumerate(keys):
        assert seen.is_new(key) == (key not in known)
        known.add(key)
        if i % 5 == 4:
            seen._merge()

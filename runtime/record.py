"""Named tuples that cost a tenth as much to define.

`typing.NamedTuple` compiles every annotation and the text of a constructor, and a first answer
defines thirty. A `Record` is the same to its users and to type
checkers: a tuple whose items have names, with defaults, `_replace` and `_asdict`.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

__all__ = ["Record"]

if TYPE_CHECKING:
    from typing import NamedTuple as Record
else:

    class _Definition(type):
        """Turns the annotations of a class into its fields."""

        def __new__(kind, name, bases, space):
            space["__slots__"] = ()
            names = tuple(space.get("__annotations__", ()))
            if names or bases == (tuple,):  # else the parent's
                space["_fields"] = space["__match_args__"] = names
                space["_field_defaults"] = {n: space.pop(n) for n in names if n in space}
                space.update({n: property(itemgetter(place)) for place, n in enumerate(names)})
            return super().__new__(kind, name, bases, space)

    class Record(tuple, metaclass=_Definition):
        """A tuple whose items have names: the annotations of the class, in their order."""

        def __new__(cls, *values, **named):
            """Take a value for each field, in order or by name."""
            names = cls._fields
            if named or len(values) != len(names):
                rest = names[len(values) :]
                given = named if len(named) == len(rest) else {**cls._field_defaults, **named}
                try:
                    values += tuple(map(given.__getitem__, rest))
                except KeyError as lacking:
                    raise TypeError(f"{cls.__name__} lacks {lacking.args[0]}") from None
                if len(values) > len(names) or not (given is named or named.keys() <= set(rest)):
                    raise TypeError(f"{cls.__name__} takes {', '.join(names)}, each once")
            return tuple.__new__(cls, values)

        def __getnewargs__(self):
            return tuple(self)

        def __repr__(self):
            shown = ", ".join(f"{n}={v!r}" for n, v in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({shown})"

        def _replace(self, **changes):
            values = tuple(map(changes.pop, self._fields, self))
            if changes:
                raise TypeError(f"{type(self).__name__} has no {', '.join(changes)}")
            return tuple.__new__(type(self), values)

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

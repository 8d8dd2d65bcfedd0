"""The headers of one message, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.sip.grammar import split_outside
from gateway.sip.header_names import CANONICAL_NAMES, canonical_name


class Headers:
    """An ordered multimap from header names to values.

    Names are canonical (`Via`, never `v`); values are as written, without the line's leading and trailing
    white space, one entry a header line.

    Args:
        items: name and value of each line.
        first: each name's first value, from who has made `items` of canonical names: both are taken over as
            they are.

    Attributes:
        first: the value on the first line of each name. Read only.

    """

    __slots__ = ("_items", "first")

    def __init__(self, items: Iterable[tuple[str, str]] = (), first: dict[str, str] | None = None) -> None:
        if first is not None and isinstance(items, list):
            self._items: list[tuple[str, str]] = items
            self.first: dict[str, str] = first
        else:
            self._items = [(canonical_name(name), value) for name, value in items]
            self.first = dict(reversed(self._items))

    def get(self, name: str) -> str | None:
        """The value on the first line of that name."""
        value = self.first.get(name)
        if value is not None or name in CANONICAL_NAMES:
            return value
        wanted = canonical_name(name).lower()
        for key, value in self._items:
            if key.lower() == wanted:
                return value
        return None

    def get_all(self, name: str) -> list[str]:
        """The values of all lines of that name, one entry a line."""
        first = self.first
        value = first.get(name)
        if value is not None:
            if len(first) == len(self._items):
                return [value]
            return [value for key, value in self._items if key == name]
        if name in CANONICAL_NAMES:
            return []
        wanted = canonical_name(name).lower()
        return [value for key, value in self._items if key.lower() == wanted]

    def values(self, name: str) -> list[str]:
        """All values of a header that is a comma-separated list. Raises SipParseError (400)."""
        found: list[str] = []
        for line in self.get_all(name):
            if "," in line:
                found += [value for value in split_outside(line, ",") if value]
            elif line:
                found.append(line)
        return found

    def replace_first(self, name: str, value: str) -> None:
        """Put another value on the first line of that canonical name."""
        for index, (key, _) in enumerate(self._items):
            if key == name:
                self._items[index] = (name, value)
                self.first[name] = value
                return

    def items(self) -> list[tuple[str, str]]:
        """Name and value of each line, in order. The list is the live one: read only."""
        return self._items

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._items == other._items

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({len(self._items)} lines)"

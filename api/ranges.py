"""Part of a body, as a client may ask for (RFC 9110 §14)."""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import Final

_RANGE: Final = re.compile(r"bytes\s*=\s*(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))", re.IGNORECASE)
"""One range; several at once are answered with the whole, which a server may do (§14.2)."""


class NotSatisfiableError(Exception):
    """Nothing of what is asked for is there (§15.5.17)."""


def wanted(header: str | None, size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last that a `Range` asks for; None for the whole.

    size: of the body, bytes.

    Raises:
        NotSatisfiableError: answer 416.

    """
    match = _RANGE.fullmatch(header.strip()) if header is not None else None
    if match is None:
        return None  # other units, several ranges and nonsense are ignored (§14.2)
    first, last, suffix = match.groups()
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size
    else:
        start = int(first)
        if last is not None and int(last) < start:
            return None  # invalid (§14.1.1), hence ignored
        end = size if last is None else min(int(last) + 1, size)
    if start >= end:
        raise NotSatisfiableError
    return start, end


def still_the_same(if_range: str | None, etag: str, modified_at: float) -> bool:
    """Whether an `If-Range` lets a `Range` count (§13.1.5): strong ETags and exact dates only."""
    return if_range is None or if_range.strip() in {etag, http_date(modified_at)}


def http_date(seconds: float) -> str:
    """A time, in seconds since the epoch, as HTTP writes it."""
    return formatdate(int(seconds), usegmt=True)

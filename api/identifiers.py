"""Ids and times as the API writes them."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letter is taken for a digit when read aloud."""

ID_CHARACTERS: Final = 16
"""80 bits: two of a million ids are equal once in 10^12 stores."""

ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What an id may be, whoever made it."""


def new_id(prefix: str) -> str:
    """A fresh id, as in `phn_3k9…`."""
    bits = secrets.randbits(ID_CHARACTERS * 5)
    return f"{prefix}_" + "".join(ALPHABET[bits >> shift & 31] for shift in range(0, ID_CHARACTERS * 5, 5))


def timestamp(moment: datetime | None = None) -> str:
    """RFC 3339 in UTC with milliseconds; as text it sorts as in time."""
    moment = datetime.now(UTC) if moment is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

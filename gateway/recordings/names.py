"""Which objects are recordings of ours, and of when: their names say so."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_OURS: Final = re.compile(r"(\d{4}-\d\d-\d\d/\d{6})-[A-Za-z0-9_-]{1,80}\.(wav|ogg|json)")
"""One directory a day; time of day, id of the call, and for a whole call ``-call``."""


def recorded_at(key: str) -> float | None:
    """When a recording (or the record beside one) began, seconds since the epoch; None: not ours."""
    found = _OURS.fullmatch(key)
    if found is None:
        return None
    try:
        return datetime.strptime(found[1], "%Y-%m-%d/%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None

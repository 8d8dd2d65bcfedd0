"""When a question is asked again, and after how long: only what cannot happen twice, as the carrier asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

THROTTLED: Final = 429

ATTEMPTS: Final = 3
"""Of one question."""

PATIENCE_SECONDS: Final = 5
"""That are waited at most before a question is asked again; a longer wait is passed on to who asked us."""

PAUSE_SECONDS: Final = 1
"""If a carrier throttles and does not say for how long."""

MAX_RETRY_AFTER: Final = 3_600
"""Seconds that are passed on, whatever a carrier asks for."""


def retry_after(headers: Mapping[str, str]) -> int | None:
    """Seconds that a response asks to wait (RFC 9110 §10.2.3); None if it does not say, or names a date."""
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    if not (text.isascii() and text.isdigit()):
        return None
    return min(int(text[:6]), MAX_RETRY_AFTER)


def pause(method: str, status: int, headers: Mapping[str, str], attempt: int) -> int | None:
    """Seconds to wait before a question is asked again; None if it is not. attempt: from 1."""
    if method.upper() != "GET" or status != THROTTLED or attempt >= ATTEMPTS:
        return None
    wait = retry_after(headers)
    wait = PAUSE_SECONDS if wait is None else wait
    return wait if wait <= PATIENCE_SECONDS else None

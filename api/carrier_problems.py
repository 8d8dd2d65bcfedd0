"""What a carrier's refusals and failures are to whoever asked the API."""

from __future__ import annotations

from typing import Final

from api.carriers.base import (
    AccountSuspended,
    CarrierError,
    CarrierUnavailable,
    CredentialsRefused,
    DocumentsNeeded,
    InsufficientFunds,
    NumberUnavailable,
    QueryRefused,
    Throttled,
)
from api.problems import FieldError, Problem, invalid

RETRY_SECONDS: Final = 5
"""To wait, if the carrier does not say for how long."""

ASKED: Final = ("carrier-failed", "credentials-refused", "account-suspended", "carrier-throttled")
"""Kinds of problems of whatever asks a carrier."""

BUYING: Final = (*ASKED, "number-unavailable", "insufficient-funds", "documents-needed")
"""Kinds of problems of a purchase."""

KINDS: Final = (
    (NumberUnavailable, "number-unavailable"),
    (InsufficientFunds, "insufficient-funds"),
    (DocumentsNeeded, "documents-needed"),
    (CredentialsRefused, "credentials-refused"),
    (AccountSuspended, "account-suspended"),
)


def problem_of(carrier: str, error: CarrierError, retry: str = "ask again") -> Problem:
    """What to answer. retry: what to do after an error that passes."""
    if isinstance(error, QueryRefused):
        return invalid(FieldError(error.field, "carrier", str(error), error.fix))
    for kind, name in KINDS:
        if isinstance(error, kind):
            return Problem(name, f"{carrier}: {error}")
    if not error.temporary:
        return Problem("carrier-failed", f"{carrier}: {error}")
    asked = error.retry_after if isinstance(error, CarrierUnavailable) else None
    headers = {"Retry-After": str(RETRY_SECONDS if asked is None else asked)}
    name = "carrier-throttled" if isinstance(error, Throttled) else "unavailable"
    return Problem(name, f"{carrier}: {error}; {retry}", headers=headers)

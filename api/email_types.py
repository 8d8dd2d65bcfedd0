"""What requests and responses about emails of voicemails look like."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from api.types import Limit, Offset, Page


class EmailShown(Struct, frozen=True):
    """A voicemail's email.

    to: where it goes; null if there is no address any more.
    status: `pending` until the server has it or it is given up. error: of the last attempt.
    next_attempt_at: null when there will be none.
    """

    id: str
    voicemail_id: str
    to: str | None
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    error: str
    next_attempt_at: str | None
    created_at: str
    updated_at: str


class EmailPage(Page, frozen=True, kw_only=True):
    """Emails, newest first."""

    items: list[EmailShown]


class EmailQuery(Struct, frozen=True, kw_only=True):
    """Which emails, and which part of their list."""

    status: Literal["pending", "delivered", "failed"] | None = None
    limit: Limit = 20
    offset: Offset = 0

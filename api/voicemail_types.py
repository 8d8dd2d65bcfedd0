"""What requests and responses about voicemails look like."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from api.types import E164, MAX_CURSOR_PAGE, Id, Limit, Offset, Page, Time


class VoicemailShown(Struct, frozen=True):
    """A message that a caller left.

    phone_number: that was dialled; from_number: the caller's, null if withheld.
    agent_id: who could not take the call.
    too_short: hardly any speech: the caller hung up.
    heard: somebody said so.
    transcription: of what was said; null if nobody writes it down. transcript: null until it is `done`.
    audio_url: where its audio is.
    """

    id: str
    phone_number: str
    from_number: str | None
    call_id: str
    carrier: str
    agent_id: str | None
    duration_seconds: float
    too_short: bool
    heard: bool
    transcription: Literal["pending", "done", "failed"] | None
    transcript: str | None
    audio_url: str
    created_at: str
    updated_at: str
    version: int


class VoicemailUpdate(Struct, frozen=True, kw_only=True):
    """What of a message may be changed."""

    heard: bool


class VoicemailPage(Page, frozen=True, kw_only=True):
    """Messages, newest first."""

    items: list[VoicemailShown]


class VoicemailCursorPage(Struct, frozen=True):
    """Messages, newest first. next_cursor: for the page after this one; null: there is none."""

    items: list[VoicemailShown]
    next_cursor: str | None
    has_more: bool
    limit: int


class VoicemailFilters(Struct, frozen=True, kw_only=True):
    """Which messages.

    phone_number: left for this number; agent_id: that this agent missed.
    created_since: then or later; created_before: earlier.
    """

    phone_number: E164 | None = None
    agent_id: Id | None = None
    heard: bool | None = None
    too_short: bool | None = None
    created_since: Time | None = None
    created_before: Time | None = None


class VoicemailListQuery(VoicemailFilters, frozen=True, kw_only=True):
    """Which messages, and which part of their list."""

    limit: Limit = 20
    offset: Offset = 0


class VoicemailCursorQuery(VoicemailFilters, frozen=True, kw_only=True):
    """Which messages, and from where on. cursor: the `next_cursor` of the page before."""

    limit: Annotated[int, Meta(ge=1, le=MAX_CURSOR_PAGE, extra={"fix": f"write 1 to {MAX_CURSOR_PAGE}"})] = (
        100
    )
    cursor: (
        Annotated[str, Meta(max_length=64, extra={"fix": "send next_cursor of the page before"})] | None
    ) = None

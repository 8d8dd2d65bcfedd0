"""What requests and responses about calls look like, beside `routing.call_records`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from api.types import MAX_CURSOR_PAGE, Time
from routing.call_records import CallShown, TraceRung

Wanted = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        examples=["+1415555"],
        extra={"fix": "write a number or how one begins, a Call-ID, the carrier's id of a call, or ours"},
    ),
]

Word = Annotated[str, Meta(min_length=1, max_length=64, extra={"fix": "write 1 to 64 characters"})]


class CallQuery(Struct, frozen=True, kw_only=True):
    """Which calls, and from where on.

    search: a number of either side or how one begins; or, as a whole, a Call-ID, the carrier's id, or ours.
    carrier: its name; outcome: as in `gateway_calls_total`; refused: those that nobody was tried for.
    started_since: then or later; started_before: earlier.
    cursor: the `next_cursor` of the page before.
    """

    search: Wanted | None = None
    carrier: Word | None = None
    outcome: Word | None = None
    refused: bool | None = None
    started_since: Time | None = None
    started_before: Time | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_CURSOR_PAGE, extra={"fix": f"write 1 to {MAX_CURSOR_PAGE}"})] = 50
    cursor: (
        Annotated[str, Meta(max_length=64, extra={"fix": "send next_cursor of the page before"})] | None
    ) = None


class CallPage(Struct, frozen=True):
    """Calls that are over, newest first. next_cursor: for the page after this one; null: there is none."""

    items: list[CallShown]
    next_cursor: str | None
    has_more: bool
    limit: int


class LiveCalls(Struct, frozen=True):
    """Calls that go on now at one gateway. node: its name."""

    node: str
    items: list[CallShown]


class CallTrace(Struct, frozen=True):
    """What happened in a call, in order.

    call_id: ours; node: which gateway it is, or was, on; began: RFC 3339, what `at` counts from.
    """

    call_id: str
    node: str
    began: str
    rungs: list[TraceRung]


class DrainState(Struct, frozen=True):
    """Whether a gateway takes new calls. draining: it does not; calls: that go on."""

    node: str
    draining: bool
    calls: int

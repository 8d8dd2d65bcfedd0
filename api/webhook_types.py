"""What requests and responses about webhooks look like."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from api.types import Limit, Name, Offset, Page

MAX_URL: Final = 1_024
MAX_EVENTS: Final = 20
"""Of one webhook; there are fewer kinds."""

EventName = Literal[
    "call.started",
    "call.ended",
    "call.failed",
    "call.recording.available",
    "voicemail.created",
    "voicemail.transcribed",
]

Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_URL,
        description="`https://…`, or `http://…` within a network of your own.",
        examples=["https://hooks.example.com/voice"],
        extra={"fix": f"write https:// and a host, {MAX_URL} characters at most"},
    ),
]
EventNames = Annotated[
    list[EventName], Meta(min_length=1, max_length=MAX_EVENTS, extra={"fix": "name at least one event"})
]


class WebhookUpdate(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What of a webhook may be changed (RFC 7396). status: an `inactive` one is sent nothing."""

    name: Name
    url: Url
    events: EventNames
    status: Literal["active", "inactive"] = "active"


class WebhookCreate(WebhookUpdate, frozen=True, omit_defaults=True, kw_only=True):
    """An address that hears of events."""


class WebhookShown(Struct, frozen=True, kw_only=True):
    """A webhook, without its secret."""

    id: str
    name: str
    url: str
    events: list[str]
    status: Literal["active", "inactive"]
    created_at: str
    updated_at: str
    version: int


class WebhookMade(WebhookShown, frozen=True, kw_only=True):
    """A webhook as it is shown once. secret: signs what is sent."""

    secret: str


class WebhookPage(Page, frozen=True, kw_only=True):
    """Webhooks, oldest first."""

    items: list[WebhookShown]


class WebhookTested(Struct, frozen=True):
    """What came of a test. response_status: null if there was no answer; error: empty if it arrived."""

    delivered: bool
    response_status: int | None
    error: str


class DeliveryShown(Struct, frozen=True):
    """One event on its way to a webhook.

    status: `pending` until it arrives or is given up. response_status, error: of the last attempt.
    next_attempt_at: null when there will be none.
    """

    id: str
    event_id: str
    event: str
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    response_status: int | None
    error: str
    next_attempt_at: str | None
    created_at: str
    updated_at: str


class DeliveryPage(Page, frozen=True, kw_only=True):
    """Deliveries, newest first."""

    items: list[DeliveryShown]


class DeliveryQuery(Struct, frozen=True, kw_only=True):
    """Which deliveries, and which part of their list."""

    status: Literal["pending", "delivered", "failed"] | None = None
    limit: Limit = 20
    offset: Offset = 0

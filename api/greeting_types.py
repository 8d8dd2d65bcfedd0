"""What requests and responses about greetings look like."""

from __future__ import annotations

from msgspec import Struct

from api.types import Name, Page


class GreetingQuery(Struct, frozen=True, kw_only=True):
    """What an uploaded greeting is called. name: for people."""

    name: Name = "Greeting"


class GreetingShown(Struct, frozen=True):
    """Audio that voicemails begin with.

    duration_seconds, size_bytes: of the audio as it is kept, 8 kHz mono.
    audio_url: where it is.
    """

    id: str
    name: str
    duration_seconds: float
    size_bytes: int
    audio_url: str
    created_at: str


class GreetingPage(Page, frozen=True, kw_only=True):
    """Greetings, oldest first."""

    items: list[GreetingShown]

"""What happens to calls, as the gateway tells whoever keeps books of it.

The shape is that of the API's webhooks: flat, with `event` naming the kind. Every event has an id, since it
may be delivered more than once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from routing.call_records import CallShown

VOICEMAIL_PREFIX: Final = "vm_"
"""Of a message's id; the id of its call follows, so the same message always has the same one."""

REMEMBERED_SECONDS: Final = 64
"""Seconds written out and kept: the calls of a busy gateway begin in few of them."""


class CallEvent(Struct, frozen=True, tag_field="event", kw_only=True):
    """What all events have.

    id: of this event, the same however often it is delivered; call_id: ours.
    created_at: RFC 3339, UTC. agent_id: who takes the call, or should have.
    to_number: as it was dialled, E.164; from_number: as the carrier wrote it, or empty.
    """

    id: str
    call_id: str
    created_at: str
    agent_id: str | None
    to_number: str
    from_number: str
    carrier: str


class CallStarted(CallEvent, frozen=True, tag="call.started", kw_only=True):
    """A call came in for a number that has somebody to take it."""


class CallOver(CallEvent, frozen=True, kw_only=True):
    """What the ends of calls have.

    status: `completed` or `failed`; outcome: as in `gateway_calls_total`; end_reason: who or what ended it.
    duration_seconds: from INVITE to goodbye.
    """

    status: str
    duration_seconds: float
    outcome: str
    end_reason: str


class CallEnded(CallOver, frozen=True, tag="call.ended", kw_only=True):
    """Somebody took the call, or the caller gave up; it is over."""


class CallFailed(CallOver, frozen=True, tag="call.failed", kw_only=True):
    """Nobody could take the call."""


class RecordingAvailable(CallEvent, frozen=True, tag="call.recording.available", kw_only=True):
    """The recording of a call is complete.

    recording_key: where it is in the store of recordings; duration_seconds: of audio.
    """

    recording_key: str
    duration_seconds: float


class VoicemailCreated(CallEvent, frozen=True, tag="voicemail.created", kw_only=True):
    """A caller left a message.

    voicemail_id: the message's. recording_key: where its audio is in the store of recordings.
    duration_seconds: of audio; speech_seconds: of voice in it; too_short: hardly any, as of a caller who hung
        up at the tone.
    """

    voicemail_id: str
    recording_key: str
    duration_seconds: float
    speech_seconds: float
    too_short: bool


class CallRecorded(Struct, frozen=True, tag_field="event", tag="call.recorded", kw_only=True):
    """All that is known of a call that is over, for its history; nobody outside is told.

    id: made of the call's, so that it is the same however often it is delivered.
    """

    id: str
    call: CallShown


Event: TypeAlias = CallStarted | CallEnded | CallFailed | CallRecorded | RecordingAvailable | VoicemailCreated


def moment(seconds: float) -> str:
    """A time, given in seconds since the epoch, as events have it: RFC 3339 in UTC with milliseconds."""
    whole, millionths = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{millionths // 1000:03d}Z"


@lru_cache(maxsize=REMEMBERED_SECONDS)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Event)


def encode_event(event: Event) -> bytes:
    """An event as it is kept: JSON."""
    return _encoder.encode(event)


def decode_event(value: bytes) -> Event:
    """An event as it was kept; fields that are not known are passed over. Raises msgspec.DecodeError."""
    event: Event = _decoder.decode(value)
    return event

"""Calls as they are remembered: what a gateway tells of each, and history, console and commands show.

Numbers stand in fields of their own, so that they can be masked there.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

MAX_SAMPLES: Final = 240
"""Measurements of audio kept of one call; when there are more, every other one goes: a call of any length has
between 120 and 240 points in its chart."""


class TriedDestination(Struct, frozen=True):
    """A destination that was tried.

    destination: agent id, or `voicemail`; endpoint: its URL, without passwords, empty for voicemail.
    answer: what came back; seconds: until it came back.
    """

    destination: str
    endpoint: str
    answer: str
    seconds: float


class LegAudio(Struct, frozen=True):
    """How the audio of one leg did.

    leg: `caller`, or the agent's id; codec: as SDP names it.
    packets_in, packets_out: RTP packets.
    lost: packets that did not reach us; jitter: seconds, of what reached us.
    round_trip: seconds to the peer and back, null if its reports never told.
    far_lost: packets that did not reach the peer, as it says.
    far_jitter: seconds, as the peer says.
    mos: 1 to 4.5, estimated for what reached us, null if nothing did.
    """

    leg: str
    codec: str
    packets_in: int
    packets_out: int
    lost: int
    jitter: float
    round_trip: float | None = None
    far_lost: int | None = None
    far_jitter: float | None = None
    mos: float | None = None


class CallMoment(Struct, frozen=True):
    """Something that happened in a call and that no SIP message shows.

    at: seconds since its INVITE.
    kind: `route`, `destination`, `attempt`, `websocket`, `audio` or `caller`; text: for people.
    """

    at: float
    kind: str
    text: str


class AudioSample(Struct, frozen=True):
    """What came from the caller during a few seconds of a call.

    at: seconds since its INVITE, at the end of that time.
    mos: 1 to 4.5; loss: share of packets, 0 to 1; jitter: seconds.
    """

    at: float
    mos: float
    loss: float
    jitter: float


class CallShown(Struct, frozen=True, kw_only=True):
    """A call.

    id: ours, the same on both legs; node: which gateway it is, or was, on; only there is its trace.
    state: `routing`, `ringing`, `talking`, `waiting` (answered, and an agent is being reached), `voicemail`,
        or `over`.
    started_at: RFC 3339, of its INVITE; began: the same in seconds since the epoch.
    seconds: from there to goodbye, or to now.
    carrier: whose call it is; carrier_call_id: the carrier's own name for it, if it told one.
    source: the address that its INVITE came from.
    caller, dialled: as the carrier wrote them; number: the route that was found, E.164, empty if none.
    sip_call_ids: Call-ID of each leg, the caller's first.
    plan: its destinations in order; destination: the one that has, or is offered, the call, empty if none.
    position: of that one in the plan, from 1; 0 before the first.
    outcome: as in `gateway_calls_total`, empty while it lasts; status: final SIP status the caller got, or 0.
    cause: what ended it; rule: what refused it: a fixed word, empty if nobody did.
    tried: what each destination answered; stages: seconds by stage, as in `gateway_call_stage_seconds`.
    legs: how the audio of each leg did; moments: what happened besides SIP.
    quality: what came from the caller over time.
    mos: the worst of the legs' ends, or the caller's now; null if there was no audio.
    """

    id: str
    node: str
    state: str
    started_at: str
    began: float
    seconds: float
    carrier: str
    carrier_call_id: str
    source: str
    caller: str
    dialled: str
    number: str
    sip_call_ids: list[str]
    plan: list[str]
    destination: str
    position: int
    outcome: str
    status: int
    cause: str
    rule: str
    tried: list[TriedDestination]
    stages: dict[str, float]
    legs: list[LegAudio]
    moments: list[CallMoment]
    quality: list[AudioSample]
    mos: float | None


class TraceRung(Struct, frozen=True, kw_only=True):
    """One thing that happened in a call, as its trace has it.

    at: seconds since its first message.
    side: whom a message was exchanged with: `caller` or `agent`; `gateway` for what is no message.
    out: the gateway sent it.
    label: short, as in `180 Ringing`; kind: of what is no message, as in `moments`.
    again: the same message had been there before.
    transport: `udp`, `tcp` or `tls`; local, remote: address and port of the gateway and of its peer.
    message: all of it, secrets starred out.
    """

    at: float
    side: str
    out: bool
    label: str
    kind: str
    again: bool
    transport: str
    local: str
    remote: str
    message: str


KEPT_DIGITS: Final = 2
"""Digits left of a masked number: enough to tell two calls apart, not enough to call back."""


def masked(call: CallShown) -> CallShown:
    """The same call without telephone numbers."""
    return msgspec.structs.replace(
        call,
        caller=mask_number(call.caller),
        dialled=mask_number(call.dialled),
        number=mask_number(call.number),
    )


def mask_number(number: str) -> str:
    """A telephone number as it may be shown."""
    return f"***{number[-KEPT_DIGITS:]}" if number else ""


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(CallShown)


def encode_call(call: CallShown) -> bytes:
    """A call as it is kept: JSON."""
    return _encoder.encode(call)


def decode_call(value: bytes) -> CallShown:
    """A call as it was kept. Raises msgspec.DecodeError."""
    return _decoder.decode(value)


def thinned(samples: list[AudioSample]) -> list[AudioSample]:
    """Every other one, if there are too many; the last one stays."""
    return samples if len(samples) <= MAX_SAMPLES else samples[1::2]

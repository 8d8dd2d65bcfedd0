"""Offers and answers across a relay that can transcode: who is offered what, and who speaks what at last.

An offer that crosses the relay keeps its own codecs, in their order, and gets ours behind them. The answer
decides: a codec of the offer's own is spoken end to end, and packets pass untouched; a codec of ours means
that the relay transcodes, and the offerer is answered with the first codec of its offer that we speak. So
nobody ever hears of a codec that it has not offered, and where the two sides have one in common nothing is
transcoded. An offer without any codec that we speak passes as it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from gateway.destinations.caller_audio import events_for
from gateway.destinations.described import described
from gateway.destinations.spoken import spoken
from gateway.media.codecs import G722, L16_8000, L16_16000, OPUS, PCMA, PCMU, AudioCodec, available
from gateway.media.stream_transcoder import SpokenForm
from gateway.sip.sdp import (
    Codec,
    SdpError,
    with_codecs,
    with_more_codecs,
)
from gateway.sip.session_description import TELEPHONE_EVENT

OFFERED = (PCMU, PCMA, G722, L16_16000, L16_8000, OPUS)
"""Codecs of ours in the order in which agents are offered them: what costs least first."""

EVENTS = "0-15"

NO_NUMBER = -1
"""Stands for a payload type that is yet to be given."""

KNOWN_OFFERS = 64
"""Offers' codecs of which is remembered what is added to them: carriers offer the same in every call."""


@dataclass(frozen=True, slots=True)
class SpokenOnLeg:
    """What is spoken on one leg.

    voice: as the peer's description numbers it: what we send.
    form: the same for a transcoder.
    codecs, events: what the peer may send, by the payload types that we gave it; events with their clock
        rates.
    """

    voice: Codec
    form: SpokenForm
    codecs: Mapping[int, AudioCodec]
    events: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Carried:
    """An answer that has crossed the relay.

    description: as whoever made the offer may see it.
    voice: what the answerer speaks; None if nobody can tell.
    transcoded: whether the offerer speaks something else.
    """

    description: bytes
    voice: Codec | None
    transcoded: bool = False


def widened(offer: bytes, agreed: Codec | None = None) -> bytes:
    """The offer with our codecs added, if it has one that we speak; otherwise as it is.

    agreed: what the answerer speaks already; it stands first if the offerer does not speak it.

    Raises:
        SdpError: the offer has no audio, or makes no sense.

    """
    offered = described(offer)
    before, behind = _additions(offered.audio.formats, offered.codecs, agreed)
    return with_more_codecs(offer, before, behind) if before or behind else offer


def carry(offer: bytes, answer: bytes) -> Carried:
    """Bring the answer to a widened offer before whoever made the offer.

    Raises:
        SdpError: one of them has no audio, or makes no sense; or the answer is none to that offer.

    """
    offered, answered = described(offer), described(answer)
    voice = next((codec for codec in answered.codecs if codec.is_voice), None)
    target = next((codec for codec in offered.codecs if spoken(codec) is not None), None)
    if target is None:  # nothing was added to that offer, and its answer passes as it came, too
        return Carried(answer, voice)
    own = {codec.key for codec in offered.codecs}
    if voice is None:
        raise SdpError("no voice codec in the answer")
    if voice.key in own:
        kept = [codec for codec in answered.codecs if codec.key in own]
        whole = len(kept) == len(answered.codecs)
        return Carried(answer if whole else with_codecs(answer, kept), voice)
    if spoken(voice) is None:
        raise SdpError(f"{voice.key} was not offered")
    keys = any(codec.is_dtmf for codec in answered.codecs)
    events = events_for(target, offered.audio) if keys else None
    return Carried(with_codecs(answer, [target, events] if events else [target]), voice, transcoded=True)


def voice_in(answer: bytes) -> Codec | None:
    """What an answerer speaks. Raises SdpError."""
    return next((codec for codec in described(answer).codecs if codec.is_voice), None)


def spoken_on_leg(ours: bytes, theirs: bytes, answer: bytes) -> SpokenOnLeg | None:
    """What is spoken on a leg; None if nothing that both descriptions have and that we speak.

    ours: what the peer has from us; theirs: what we have from it; answer: whichever of them answered the
        other.

    Raises:
        SdpError: one of them has no audio, or makes no sense.

    """
    given, taken = described(ours), described(theirs)
    known = {codec.key: codec for codec in taken.codecs}
    both = known.keys() & {codec.key for codec in given.codecs}
    chosen = next((codec for codec in described(answer).codecs if codec.key in both and codec.is_voice), None)
    codec = spoken(chosen) if chosen is not None else None
    if chosen is None or codec is None:
        return None
    voice = known[chosen.key]
    events = events_for(voice, taken.audio)
    form = SpokenForm(codec, voice.payload_type, events.payload_type if events is not None else None)
    codecs = {each.payload_type: coder for each in given.codecs if (coder := spoken(each)) is not None}
    clocks = {each.payload_type: each.clock_rate for each in given.codecs if each.is_dtmf}
    return SpokenOnLeg(voice, form, codecs, clocks)


@cache
def _ours() -> tuple[Codec, ...]:
    """Our codecs as session descriptions name them, in the order in which they are offered."""
    installed = available()
    return tuple(
        Codec(
            NO_NUMBER if codec.payload_type is None else codec.payload_type,
            codec.name,
            codec.clock_rate,
            codec.channels,
        )
        for codec in OFFERED
        if codec in installed
    )


@lru_cache(KNOWN_OFFERS)
def _additions(
    formats: tuple[str, ...], codecs: tuple[Codec, ...], agreed: Codec | None
) -> tuple[list[Codec], list[Codec]]:
    """What is put before and behind the codecs of an offer; carriers offer the same in every call."""
    if not any(spoken(codec) for codec in codecs):
        return [], []
    own = {codec.key for codec in codecs}
    numbers = _Numbers(formats)
    before: list[Codec] = []
    if agreed is not None and agreed.key not in own and spoken(agreed) is not None:
        before = numbers.give([agreed])
        own.add(agreed.key)
    behind = numbers.give([codec for codec in _ours() if codec.key not in own])
    clocks = {codec.clock_rate for codec in codecs if codec.is_dtmf}
    if clocks:
        missing = dict.fromkeys(codec.clock_rate for codec in (*before, *behind))
        events = (
            Codec(NO_NUMBER, TELEPHONE_EVENT, clock, 1, EVENTS) for clock in missing if clock not in clocks
        )
        behind += numbers.give(events)
    return before, behind


class _Numbers:
    """The payload types that an offer leaves free (RFC 3551 §6: dynamic ones are 96 to 127)."""

    def __init__(self, formats: tuple[str, ...]) -> None:
        self._taken = set(formats)

    def give(self, codecs: Iterable[Codec]) -> list[Codec]:
        """Each with its own payload type if that is free, else another; those for which none is left, not."""
        given = []
        for codec in codecs:
            number: int | None = codec.payload_type
            if number == NO_NUMBER or str(number) in self._taken:
                number = next((each for each in range(96, 128) if str(each) not in self._taken), None)
            if number is not None:
                self._taken.add(str(number))
                given.append(replace(codec, payload_type=number))
        return given

"""Offers and answers across a relay that can transcode: who is offered what, and who speaks what in the end.

An offer that crosses the relay keeps its own codecs, in their order, and gets ours behind them. The answer
decides: a codec of the offer's own is spoken end to end, and packets pass untouched; a codec of ours means
that the relay transcodes, and the offerer is answered with the first codec of its offer that we speak. So
nobody ever hears of a codec that it has not offered, and where the two sides have one in common nothing is
transcoded. An offer without any codec that we speak passes as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.destinations.caller_audio import events_for
from gateway.destinations.spoken import spoken
from gateway.media.codecs import G722, L16_8000, L16_16000, OPUS, PCMA, PCMU, AudioCodec, available
from gateway.media.stream_transcoder import SpokenForm
from gateway.sip.sdp import (
    Codec,
    Media,
    SdpError,
    SessionDescription,
    free_payload_types,
    with_codecs,
    with_more_codecs,
)

OFFERED = (PCMU, PCMA, G722, L16_16000, L16_8000, OPUS)
"""Codecs of ours in the order in which agents are offered them: what costs least first."""

EVENTS = "0-15"


@dataclass(frozen=True, slots=True)
class SpokenOnLeg:
    """What is spoken on one leg.

    voice: as the peer's description numbers it: what we send.
    form: the same for a transcoder; None for a codec that we do not speak.
    codecs, events: what the peer may send, by the payload types that we gave it; events with their clock
        rates.
    """

    voice: Codec
    form: SpokenForm | None
    codecs: Mapping[int, AudioCodec]
    events: Mapping[int, int]


def widened(offer: bytes, agreed: Codec | None = None) -> bytes:
    """The offer with our codecs added, if it has one that we speak; otherwise as it is.

    agreed: what the answerer speaks already; it stands first if the offerer does not speak it.

    Raises:
        SdpError: the offer has no audio, or makes no sense.

    """
    audio = _audio(offer)
    own = {codec.key for codec in audio.codecs}
    if not any(spoken(codec) for codec in audio.codecs):
        return offer
    free = free_payload_types(audio)
    taken = {int(each) for each in audio.formats if each.isdigit()}
    before: list[Codec] = []
    behind: list[Codec] = []
    if agreed is not None and agreed.key not in own and spoken(agreed) is not None:
        number = agreed.payload_type if agreed.payload_type not in taken else next(free, None)
        if number is not None:
            before.append(Codec(number, agreed.name, agreed.clock_rate, agreed.channels, agreed.fmtp))
            own.add(agreed.key)
            taken.add(number)
    installed = available()
    clocks = {codec.clock_rate for codec in audio.codecs if codec.is_dtmf}
    for codec in OFFERED:
        key = Codec(0, codec.name, codec.clock_rate, codec.channels)
        if codec not in installed or key.key in own:
            continue
        number = codec.payload_type
        if number is None or number in taken:
            number = next((each for each in free if each not in taken), None)
        if number is None:
            break
        behind.append(Codec(number, codec.name, codec.clock_rate, codec.channels))
    for clock in dict.fromkeys(codec.clock_rate for codec in (*before, *behind)):
        number = next((each for each in free if each not in taken), None)
        if clocks and clock not in clocks and number is not None:
            behind.append(Codec(number, "telephone-event", clock, 1, EVENTS))
    return with_more_codecs(offer, before, behind)


def answer_for(offer: bytes, answer: bytes) -> bytes:
    """The answer to a widened offer, as whoever made the offer may see it.

    Raises:
        SdpError: one of them has no audio, or makes no sense.

    """
    offered, answered = _audio(offer), _audio(answer)
    target = next((codec for codec in offered.codecs if spoken(codec) is not None), None)
    if target is None:
        return answer  # nothing was added to that offer, and its answer passes as it came, too
    own = {codec.key for codec in offered.codecs}
    voice = _voice(answered)
    if voice is None:
        raise SdpError("no voice codec in the answer")
    if voice.key in own:
        kept = [codec for codec in answered.codecs if codec.key in own]
        return answer if len(kept) == len(answered.codecs) else with_codecs(answer, kept)
    if spoken(voice) is None:
        raise SdpError(f"{voice.key} was not offered")
    events = events_for(target, offered) if any(codec.is_dtmf for codec in answered.codecs) else None
    return with_codecs(answer, [target, events] if events else [target])


def spoken_on_leg(ours: bytes, theirs: bytes, answer: bytes) -> SpokenOnLeg | None:
    """What is spoken on a leg; None if nothing that both descriptions have.

    ours: what the peer has from us; theirs: what we have from it; answer: whichever of them answered the
        other.

    Raises:
        SdpError: one of them has no audio, or makes no sense.

    """
    given, taken = _audio(ours), _audio(theirs)
    known = {codec.key: codec for codec in taken.codecs}
    both = known.keys() & {codec.key for codec in given.codecs}
    chosen = next((codec for codec in _audio(answer).codecs if codec.key in both and codec.is_voice), None)
    if chosen is None:
        return None
    voice = known[chosen.key]
    codec, events = spoken(voice), events_for(voice, taken)
    keys = events.payload_type if events is not None else None
    form = None if codec is None else SpokenForm(codec, voice.payload_type, keys)
    codecs = {each.payload_type: ours_is for each in given.codecs if (ours_is := spoken(each)) is not None}
    clocks = {each.payload_type: each.clock_rate for each in given.codecs if each.is_dtmf}
    return SpokenOnLeg(voice, form, codecs, clocks)


def _audio(description: bytes) -> Media:
    audio = SessionDescription.parse(description).audio
    if audio is None:
        raise SdpError("no audio in the session description")
    return audio


def _voice(audio: Media) -> Codec | None:
    return next((codec for codec in audio.codecs if codec.is_voice), None)

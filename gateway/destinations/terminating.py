"""Audio that ends here: the session description we give a caller when no agent is behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.destinations.base import Call, Declined
from gateway.destinations.caller_audio import CallerAudio, events_for
from gateway.destinations.renegotiation import renegotiate
from gateway.destinations.spoken import key_of, spoken, spoken_keys
from gateway.media.codecs import AudioCodec
from gateway.media.ports import NoPortLeft
from gateway.sip.events import AckReceived, ReinviteReceived, SessionRefreshed
from gateway.sip.sdp import Codec, SdpError, SessionDescription, answer_offer, make_offer

NOT_ACCEPTABLE = 488

ACK_PATIENCE = 40.0
"""Seconds for the caller's ACK: beyond 64*T1, when the core gives the caller up; only a net under it."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed with the caller.

    codec: the offerer's first that we speak; payload_type: of it.
    dtmf_payload_type: of telephone-event at its clock rate, or None.
    acknowledged_at: when the caller's ACK came, in seconds of the call's clock.
    """

    codec: AudioCodec
    payload_type: int
    dtmf_payload_type: int | None
    acknowledged_at: float


async def answer_here(call: Call) -> Terms | Declined:
    """Answer the caller with our own port, or move one who was answered already over to it.

    Declined when there is no port to answer with, or no common ground with the caller's offer.

    Raises:
        CallerLeft: meanwhile.

    """
    try:
        return await _answer_or_move(call)
    except (NoPortLeft, SdpError) as error:
        return _declined(error)


async def _answer_or_move(call: Call) -> Terms | Declined:
    """See `answer_here`. Raises CallerLeft, NoPortLeft, SdpError."""
    audio = call.audio
    host, port = audio.open_port().address
    audio.change_hands()
    agreed = _agreed(audio, call.now()) if audio.through_port else None
    if call.answered:
        if agreed is not None:
            call.waiting_sound.stop()
            return agreed
        offer = make_offer(host, port, session_id=audio.session_id)
        answer = await renegotiate(call, audio.present(offer, through_port=True))
        return answer if isinstance(answer, Declined) else _taken(audio, answer, call.now())
    call.waiting_sound.stop()
    if agreed is not None and audio.theirs:  # the same answer as with the early media (RFC 3261 §13.2.1)
        call.answer(audio.shown)
        await _acknowledged(call)
        return replace(agreed, acknowledged_at=call.now())
    if audio.theirs:
        ours = answer_offer(audio.offer(), host, port, supported=spoken_keys(), session_id=audio.session_id)
        call.answer(audio.present(ours.sdp, through_port=True))
        await _acknowledged(call)
        return _terms(audio, ours.codec, ours.dtmf, call.now())
    offer = make_offer(host, port, session_id=audio.session_id)
    call.answer(audio.present(offer, through_port=True))
    return _taken(audio, await _acknowledged(call), call.now())


def early_media(call: Call) -> bytes:
    """Our answer to the caller's offer before anybody has answered, for a 183; empty if there is none."""
    audio = call.audio
    if not audio.theirs:
        return b""
    try:
        host, port = audio.open_port().address
        ours = answer_offer(audio.theirs, host, port, supported=spoken_keys(), session_id=audio.session_id)
    except (NoPortLeft, SdpError):
        return b""
    return audio.present(ours.sdp, through_port=True)


def obstacle(call: Call) -> Declined | None:
    """What stands against answering here: no port, no SRTP or codec of ours. May open the caller's port."""
    audio = call.audio
    try:
        host, port = audio.open_port().address
        if audio.theirs:
            answer_offer(audio.theirs, host, port, supported=spoken_keys(), session_id=audio.session_id)
    except (NoPortLeft, SdpError) as error:
        return _declined(error)
    return None


def negotiate(call: Call, terms: Terms, event: object) -> None:
    """Follow the caller's re-INVITEs: nobody is behind us to be asked (RFC 3264 §8). Ignores other events."""
    audio, caller = call.audio, call.caller
    match event:
        case ReinviteReceived() if event.leg is caller:
            offer = event.request.body
            try:
                event.leg.answer_reinvite(answer_change(audio, terms, offer) if offer else audio.shown)
            except SdpError as error:
                event.leg.refuse_reinvite(error.status)
        case AckReceived() | SessionRefreshed() if event.leg is caller and event.body:
            try:
                follow_change(audio, event.body)
            except SdpError:
                return  # the session stays as it was


def answer_change(audio: CallerAudio, terms: Terms, offer: bytes) -> bytes:
    """Our answer to a caller's re-INVITE: the same codec, the direction mirrored (RFC 3264 §6.1, §8.4).

    Raises:
        SdpError: the offer drops the codec in use, or makes no sense.

    """
    return _answer_with(audio, key_of(terms.codec), offer)


def answer_moved(audio: CallerAudio, voice: Codec, offer: bytes) -> bytes:
    """Our answer to a caller who was not answered yet, and changes its early media.

    voice: what it was shown.

    Raises:
        SdpError: the offer drops the codec in use, or makes no sense.

    """
    return _answer_with(audio, voice.key, offer)


def _answer_with(audio: CallerAudio, key: str, offer: bytes) -> bytes:
    port = audio.open_port()
    ours = answer_offer(offer, *port.address, supported=(key,), session_id=audio.session_id)
    follow_change(audio, offer)
    audio.change_hands()  # ours continues what the caller was shown before
    return audio.present(ours.sdp, through_port=True)


def follow_change(audio: CallerAudio, description: bytes) -> None:
    """Send where the caller's description says, and nothing while the caller holds. Raises SdpError."""
    port = audio.open_port()
    media = SessionDescription.parse(description).audio
    if media is None:
        raise SdpError("no audio in the session description")
    audio.theirs = description
    port.set_remote(*media.addresses)
    port.sending = media.direction in ("sendrecv", "recvonly")


def _declined(error: NoPortLeft | SdpError) -> Declined:
    """Why the caller cannot be answered here, with what it is told."""
    if isinstance(error, NoPortLeft):
        return Declined("no media port left", 503)
    return Declined(str(error), NOT_ACCEPTABLE)


async def _acknowledged(call: Call) -> bytes:
    """The body of the caller's ACK."""
    deadline = call.now() + ACK_PATIENCE
    while True:
        event = await call.next_event(deadline)
        match event:
            case AckReceived() if event.leg is call.caller:
                return event.body
            case ReinviteReceived() if event.leg is call.caller:
                event.leg.refuse_reinvite(491)
            case None:
                return b""


def _agreed(audio: CallerAudio, now: float) -> Terms | None:
    """The terms in force, if we can speak the codec in use."""
    agreed = audio.agreed()
    return _terms(audio, *agreed, now) if agreed is not None and spoken(agreed[0]) is not None else None


def _taken(audio: CallerAudio, answer: bytes, now: float) -> Terms | Declined:
    """The terms that the caller's answer to our offer makes."""
    try:
        media = SessionDescription.parse(answer).audio
        if media is None:
            raise SdpError("no audio in the answer")
        audio.open_port().set_remote(*media.addresses)
    except SdpError as error:
        return Declined(f"caller answered our offer unusably: {error}", NOT_ACCEPTABLE)
    audio.theirs = answer
    voice = next((codec for codec in media.codecs if spoken(codec) is not None), None)
    if voice is None:
        return Declined("caller answered our offer with another codec", NOT_ACCEPTABLE)
    return _terms(audio, voice, events_for(voice, media), now)


def _terms(audio: CallerAudio, voice: Codec, events: Codec | None, now: float) -> Terms:
    codec = spoken(voice)
    if codec is None:
        raise SdpError(f"{voice.name} is not spoken here")
    audio.open_port().stats.speaks(codec.name, codec.clock_rate)
    return Terms(codec, voice.payload_type, events.payload_type if events else None, now)

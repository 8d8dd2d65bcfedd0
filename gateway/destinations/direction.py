"""Which way audio flows (RFC 3264 §6.1): a hold is answered as a hold, even by agents that forget it."""

from __future__ import annotations

from dataclasses import replace

from gateway.sip.session_description import DIRECTIONS, SdpError, SessionDescription

SENDING = frozenset({"sendrecv", "sendonly"})
RECEIVING = frozenset({"sendrecv", "recvonly"})

_BY_FLOW = {
    (True, True): "sendrecv",
    (True, False): "sendonly",
    (False, True): "recvonly",
    (False, False): "inactive",
}


def on_hold(description: bytes) -> bool:
    """Whether this end does not both send and receive: it has another direction, or no address.

    A search and not a parse: it is asked of every description.
    """
    return (
        b"a=sendonly" in description
        or b"a=recvonly" in description
        or b"a=inactive" in description
        or b"IN IP4 0.0.0.0" in description
    )


def resumed(description: bytes) -> bytes:
    """The description of a party that was on hold, as it would be without. Raises SdpError."""
    session = SessionDescription.parse(description)
    audio = session.audio
    if audio is None:
        raise SdpError("no audio in the session description")
    kept = tuple(line for line in audio.attributes if line not in DIRECTIONS)
    talking = replace(audio, attributes=(*kept, "sendrecv"))
    return replace(session, media=tuple(talking if one is audio else one for one in session.media)).to_bytes()


def permitted(answer: bytes, offer: bytes) -> bytes:
    """The answer, cut down to the directions that the offer permits.

    Raises:
        SdpError: one of them makes no sense.

    """
    if not on_hold(offer):
        return answer
    session = SessionDescription.parse(answer)
    audio, offered = session.audio, SessionDescription.parse(offer).audio
    if audio is None or offered is None:
        raise SdpError("no audio in the session description")
    sends = audio.direction in SENDING and offered.direction in RECEIVING
    receives = audio.direction in RECEIVING and offered.direction in SENDING
    direction = _BY_FLOW[sends, receives]
    if direction == audio.direction:
        return answer
    kept = tuple(line for line in audio.attributes if line not in DIRECTIONS)
    corrected = replace(audio, attributes=(*kept, direction))
    media = tuple(corrected if each is audio else each for each in session.media)
    return replace(session, media=media).to_bytes()

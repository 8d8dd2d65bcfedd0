"""Offers and answers (RFC 3264): made, answered, and changed in their addresses on the way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.sip.session_description import (
    DIRECTIONS,
    TELEPHONE_EVENT,
    Codec,
    Media,
    Origin,
    SdpError,
    SessionDescription,
    connection_line,
    family,
)

PCMU: Final = Codec(0, "PCMU", 8000)
PCMA: Final = Codec(8, "PCMA", 8000)
DTMF: Final = Codec(101, TELEPHONE_EVENT, 8000, 1, "0-15")

PTIME: Final = "ptime:20"
"""Milliseconds a packet; both carriers' and ours."""

ANSWERED_DIRECTION: Final = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}
"""RFC 3264 §6.1: what an offered direction looks like from the other side."""

_PASSED_ATTRIBUTES: Final = (
    *(b"a=rtpmap:", b"a=fmtp:", b"a=ptime:", b"a=maxptime:", b"a=rtcp-fb:", b"a=silenceSupp:"),
    *(b"a=sendrecv", b"a=sendonly", b"a=recvonly", b"a=inactive"),
    *(b"a=crypto:", b"a=key-mgmt:", b"a=fingerprint:", b"a=setup:"),
)
"""What a relay lets through: formats, direction and keys. Anything else may name addresses (candidate,
rtcp, ssrc's cname, extensions), or join ports (rtcp-mux, group), and a relay does neither."""

_UNTOLD: Final = frozenset({b"i=", b"u=", b"e=", b"p="})
"""Lines about who speaks: text, links, email addresses and numbers that the other side has not asked for."""


_ABOUT_FORMATS: Final = ("rtpmap:", "fmtp:", "rtcp-fb:", "ptime:", "maxptime:")
"""Attributes that say something of the formats of an m= line."""

_NO_ADDRESS: Final = re.compile(rb"^c=IN IP(?:4 0\.0\.0\.0|6 ::)\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Answer:
    """Our answer to an offer.

    sdp: the body to send.
    codec: the voice codec that both sides speak from now on.
    dtmf: telephone-event as the offer numbered it, None if the offer has none that fits.
    remote: host and port where our audio goes; port 0 or host 0.0.0.0 while on hold.
    direction: ours, as the answer states it.
    """

    sdp: bytes
    codec: Codec
    dtmf: Codec | None
    remote: tuple[str, int]
    direction: str

    @property
    def dtmf_payload_type(self) -> int | None:
        """The payload type of telephone-event, None if there is none."""
        return None if self.dtmf is None else self.dtmf.payload_type


def make_offer(
    host: str,
    port: int,
    codecs: Sequence[Codec] = (PCMU, PCMA, DTMF),
    *,
    session_id: int,
    version: int = 1,
    direction: str = "sendrecv",
) -> bytes:
    """An offer of one audio stream at our address."""
    return _ours(host, port, codecs, session_id, version, direction, ())


def answer_offer(
    offer: bytes,
    host: str,
    port: int,
    *,
    supported: Sequence[str] = ("PCMU", "PCMA"),
    direction: str = "sendrecv",
    session_id: int,
    version: int = 1,
) -> Answer:
    """Answer an offer with one codec at our address, and telephone-event at that codec's clock if offered.

    The offerer's order of preference decides; further media are refused with port 0, in their places.

    Args:
        offer: the body of the INVITE.
        host: where we receive.
        port: RTP port there.
        supported: the codecs we speak, as names or as `Codec.key`.
        direction: what we are willing to do; cut down to what the offer allows.
        session_id: o= line, the same for the whole dialog.
        version: o= line, one more for each changed description.

    Raises:
        SdpError: 488 if there is no plain audio or no common codec, 400 if the offer makes no sense.

    """
    session = SessionDescription.parse(offer)
    audio = session.audio
    if audio is None:
        raise SdpError("No audio offered")
    if audio.proto != "RTP/AVP":
        raise SdpError(f"{audio.proto} is not supported here")
    wanted = {name.upper() for name in supported}
    codec = next((codec for codec in audio.codecs if {codec.name.upper(), codec.key} & wanted), None)
    if codec is None:
        raise SdpError("No common codec")
    events = [event for event in audio.codecs if event.is_dtmf and event.clock_rate == codec.clock_rate]
    dtmf = events[0] if events else None
    answered = _narrowed(ANSWERED_DIRECTION[audio.direction], direction)
    refused = tuple(None if media is audio else _refused(media) for media in session.media)
    body = _ours(host, port, (codec, dtmf) if dtmf else (codec,), session_id, version, answered, refused)
    return Answer(body, codec, dtmf, audio.rtp_address, answered)


def with_media_address(description: bytes, host: str, port: int) -> bytes:
    """The same description with its first audio at another address: what a relay does to both sides.

    o= and c= lines name the new host, attributes that are not about formats, direction or keys are taken out,
    as are names and descriptions, and media other than the first audio are refused with port 0. Line by
    line: the rest passes untouched. A hold that was said by having no address is said by direction. Raises
    SdpError.
    """
    if _NO_ADDRESS.search(description) is not None:
        description = _with_stated_direction(description)
    lines = description.replace(b"\r\n", b"\n").split(b"\n")
    connection = connection_line(host).encode()
    out: list[bytes] = []
    found = refused = located = False
    for line in lines:
        kind = line[:2]
        if kind == b"m=":
            refused = found or not line.startswith(b"m=audio ")
            parts = line.split(b" ")
            if len(parts) < 4:
                raise SdpError("Bad media line in the session description", 400)
            if refused:
                parts[1] = b"0"
            elif parts[1] != b"0":
                parts[1] = b"%d" % port
                found = True
            out.append(b" ".join(parts))
        elif not line or (refused and kind in {b"a=", b"c=", b"b=", b"i=", b"k="}):
            continue
        elif kind == b"c=":
            located = True
            out.append(connection)
        elif kind == b"o=":
            fields = line.split(b" ")
            if len(fields) != 6:
                raise SdpError("Bad origin in the session description", 400)
            out.append(b" ".join((b"o=-", *fields[1:4], family(host).encode(), host.encode())))
        elif kind == b"s=":
            out.append(b"s=-")
        elif kind in _UNTOLD or (kind == b"a=" and not line.startswith(_PASSED_ATTRIBUTES)):
            continue
        else:
            out.append(line)
    if not found:
        raise SdpError("No audio in the session description")
    if not located:  # it would say nothing of where to send (RFC 8866 §5.7)
        raise SdpError("No connection address in the session description", 400)
    out.append(b"")
    return b"\r\n".join(out)


def restrict_to(description: bytes, codec: Codec, dtmf: Codec | None) -> bytes:
    """The same description with one voice codec only, and its telephone-event.

    For a side that speaks to a side which speaks that codec already.

    Raises SdpError: 488 if the description has no such codec.
    """
    session = SessionDescription.parse(description)
    audio = session.audio
    if audio is None:
        raise SdpError("No audio in the session description")
    kept = {codec.payload_type} | ({dtmf.payload_type} if dtmf else set())
    chosen = [one for one in audio.codecs if one.payload_type in kept]
    if not any(
        one.name.upper() == codec.name.upper() and one.clock_rate == codec.clock_rate for one in chosen
    ):
        raise SdpError("No common codec")
    others = tuple(line for line in audio.attributes if not line.startswith(("rtpmap:", "fmtp:")))
    described = tuple(line for one in chosen for line in one.lines())
    restricted = replace(
        audio, formats=tuple(str(one.payload_type) for one in chosen), attributes=described + others
    )
    media = tuple(restricted if one is audio else one for one in session.media)
    return replace(session, media=media).to_bytes()


def with_codecs(description: bytes, codecs: Sequence[Codec]) -> bytes:
    """The same description, its first audio with these codecs in place of its own. Raises SdpError."""
    session = SessionDescription.parse(description)
    audio = session.audio
    if audio is None:
        raise SdpError("No audio in the session description")
    others = tuple(line for line in audio.attributes if not line.startswith(_ABOUT_FORMATS))
    described = tuple(line for codec in codecs for line in codec.lines())
    formats = tuple(str(codec.payload_type) for codec in codecs)
    changed = replace(audio, formats=formats, attributes=described + others)
    return replace(session, media=tuple(changed if one is audio else one for one in session.media)).to_bytes()


def with_more_codecs(description: bytes, before: Sequence[Codec], behind: Sequence[Codec]) -> bytes:
    """The same description, its first audio with further codecs; line by line, the rest passes untouched.

    Payload types are the caller's business. Raises SdpError.
    """
    lines = description.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
    out: list[bytes] = []
    described = [f"a={line}".encode() for codec in (*before, *behind) for line in codec.lines()]
    found = False
    for line in lines:
        if line.startswith(b"m="):
            if found and described:
                out += described
                described = []
            parts = line.split(b" ")
            if not found and line.startswith(b"m=audio ") and len(parts) > 3 and parts[1] != b"0":
                found = True
                parts[3:3] = [b"%d" % codec.payload_type for codec in before]
                parts += [b"%d" % codec.payload_type for codec in behind]
                line = b" ".join(parts)
        out.append(line)
    if not found:
        raise SdpError("No audio in the session description")
    return b"\r\n".join([*out, *described, b""])


def _ours(
    host: str,
    port: int,
    codecs: Sequence[Codec],
    session_id: int,
    version: int,
    direction: str,
    others: tuple[Media | None, ...],
) -> bytes:
    """A description of ours; `others` holds the refused media of the offer, None in the audio's place."""
    attributes = (*(line for codec in codecs for line in codec.lines()), PTIME, direction)
    formats = tuple(str(codec.payload_type) for codec in codecs)
    audio = Media("audio", port, "RTP/AVP", formats, attributes=attributes)
    media = tuple(audio if one is None else one for one in others) or (audio,)
    origin = Origin("-", str(session_id), str(version), host)
    return SessionDescription(origin, host, media).to_bytes()


def _with_stated_direction(description: bytes) -> bytes:
    """The same description, its first audio with the direction that it has (RFC 3264 §8.4)."""
    session = SessionDescription.parse(description)
    audio = session.audio
    if audio is None:
        return description
    others = tuple(line for line in audio.attributes if line not in DIRECTIONS)
    stated = replace(audio, attributes=(*others, audio.direction))
    return replace(session, media=tuple(stated if one is audio else one for one in session.media)).to_bytes()


def _refused(media: Media) -> Media:
    """RFC 3264 §6: refused by port 0, formats as offered."""
    return Media(media.kind, 0, media.proto, media.formats)


def _narrowed(allowed: str, wanted: str) -> str:
    """The direction that sends and receives only where both do."""
    sends = {
        "sendrecv": (True, True),
        "sendonly": (True, False),
        "recvonly": (False, True),
        "inactive": (False, False),
    }
    send = sends[allowed][0] and sends[wanted][0]
    receive = sends[allowed][1] and sends[wanted][1]
    return DIRECTIONS[(0 if receive else 1) if send else (2 if receive else 3)]

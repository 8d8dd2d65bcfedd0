"""Session descriptions (RFC 8866): parse and str round-trip, whatever attributes they carry.

What an offerer and an answerer do with them (RFC 3264) is in `offer_answer.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

MAX_MEDIA: Final = 16
"""Media descriptions of one session: audio, video, a few kinds of data; more is an attack."""

DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")

STATIC_CODECS: Final = {
    0: ("PCMU", 8000),
    3: ("GSM", 8000),
    4: ("G723", 8000),
    8: ("PCMA", 8000),
    9: ("G722", 8000),
    13: ("CN", 8000),
    18: ("G729", 8000),
}
"""Payload types that need no rtpmap (RFC 3551 table 4)."""

TELEPHONE_EVENT: Final = "telephone-event"
COMFORT_NOISE: Final = "CN"


class SdpError(Exception):
    """A session description cannot be understood (400) or not be agreed to (488).

    status: what a SIP peer is answered.
    reason: names the fault.
    """

    def __init__(self, reason: str, status: int = 488) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Codec:
    """One payload type of a media description.

    name: as in the rtpmap; compare without regard to case.
    clock_rate: Hz.
    fmtp: format parameters as written; empty if there are none.
    """

    payload_type: int
    name: str
    clock_rate: int
    channels: int = 1
    fmtp: str = ""

    @property
    def key(self) -> str:
        """What makes two payload types the same codec: ``L16/16000``, ``OPUS/48000/2``; upper case."""
        channels = f"/{self.channels}" if self.channels > 1 else ""
        return f"{self.name.upper()}/{self.clock_rate}{channels}"

    @property
    def is_dtmf(self) -> bool:
        """Whether this is telephone-event (RFC 4733), no voice."""
        return self.name.lower() == TELEPHONE_EVENT

    @property
    def is_voice(self) -> bool:
        """Whether somebody can speak in it: neither telephone-event nor comfort noise (RFC 3389)."""
        return not self.is_dtmf and self.name.upper() != COMFORT_NOISE

    def lines(self) -> list[str]:
        """The attributes that describe it: rtpmap, and fmtp if it has parameters."""
        channels = f"/{self.channels}" if self.channels > 1 else ""
        found = [f"rtpmap:{self.payload_type} {self.name}/{self.clock_rate}{channels}"]
        if self.fmtp:
            found.append(f"fmtp:{self.payload_type} {self.fmtp}")
        return found


@dataclass(frozen=True, slots=True)
class Media:
    """One media description: its m= line and what follows it.

    connection: host of its own c= line, None if it has none.
    session_connection, session_direction: what holds for it from the session level.
    attributes: a= lines without ``a=``, in order.
    other: i=, b= and k= lines, whole.
    """

    kind: str
    port: int
    proto: str
    formats: tuple[str, ...]
    connection: str | None = None
    attributes: tuple[str, ...] = ()
    port_count: int = 1
    other: tuple[str, ...] = ()
    session_connection: str | None = None
    session_direction: str = "sendrecv"

    def attribute(self, name: str) -> str | None:
        """The value of the first attribute of that name; empty for a flag, None if absent."""
        return _attribute(self.attributes, name)

    @property
    def host(self) -> str:
        """Where this media goes: its own connection address, or the session's; empty if there is neither."""
        return self.connection or self.session_connection or ""

    @property
    def rtp_address(self) -> tuple[str, int]:
        """Host and RTP port; port 0 means refused or disabled."""
        return self.host, self.port

    @property
    def rtcp_port(self) -> int | None:
        """The port that ``a=rtcp:`` names (RFC 3605); None for the one after RTP's.

        An address there is not read: RTCP goes to the host that RTP goes to.
        """
        port = (self.attribute("rtcp") or "").partition(" ")[0]
        if not (port.isascii() and port.isdigit() and len(port) <= 5):
            return None
        return int(port) if 0 < int(port) <= 65535 else None

    @property
    def addresses(self) -> tuple[str, int, int | None]:
        """Host, RTP port and RTCP port, as a media port takes them."""
        return self.host, self.port, self.rtcp_port

    @property
    def direction(self) -> str:
        """sendrecv, sendonly, recvonly or inactive, from the sender's view.

        A connection address of 0.0.0.0, the hold of RFC 2543, counts as not receiving (RFC 3264 §8.4).
        """
        own = next((line for line in self.attributes if line in DIRECTIONS), self.session_direction)
        if self.host in {"0.0.0.0", "::"}:  # noqa: S104 - an address that a peer wrote, not one we bind
            return {"sendrecv": "sendonly", "recvonly": "inactive"}.get(own, own)
        return own

    @property
    def secure(self) -> bool:
        """Whether it is SRTP."""
        return "SAVP" in self.proto

    @property
    def codecs(self) -> list[Codec]:
        """Payload types in order of preference; those that nothing describes are left out."""
        maps: dict[str, str] = {}
        formats: dict[str, str] = {}
        for line in self.attributes:
            key, _, value = line.partition(":")
            if key in {"rtpmap", "fmtp"}:
                payload_type, _, rest = value.partition(" ")
                (maps if key == "rtpmap" else formats).setdefault(payload_type, rest.strip())
        found: list[Codec] = []
        for payload_type in self.formats:
            if not (payload_type.isascii() and payload_type.isdigit()) or int(payload_type) > 127:
                continue
            number = int(payload_type)
            name, clock, channels = _rtpmap(maps.get(payload_type, ""))
            if not name and number in STATIC_CODECS:
                name, clock = STATIC_CODECS[number]
            if name:
                found.append(Codec(number, name, clock, channels, formats.get(payload_type, "")))
        return found

    def __str__(self) -> str:
        count = f"/{self.port_count}" if self.port_count != 1 else ""
        lines = [f"m={self.kind} {self.port}{count} {self.proto} {' '.join(self.formats)}"]
        lines += [line for line in self.other if line.startswith("i=")]
        if self.connection is not None:
            lines.append(connection_line(self.connection))
        lines += [line for line in self.other if not line.startswith("i=")]
        lines += [f"a={line}" for line in self.attributes]
        return "\r\n".join(lines) + "\r\n"


@dataclass(frozen=True, slots=True)
class Origin:
    """The o= line: who made this session, and which version of it this is."""

    username: str
    session_id: str
    version: str
    host: str

    def __str__(self) -> str:
        return f"o={self.username} {self.session_id} {self.version} IN {family(self.host)} {self.host}"


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole session description.

    connection: host of the session-level c= line, None if there is none.
    attributes: session-level a= lines without ``a=``.
    other: the remaining session-level lines (i=, u=, e=, p=, b=, t=, r=, z=, k=), whole and in order.
    """

    origin: Origin
    connection: str | None
    media: tuple[Media, ...]
    attributes: tuple[str, ...] = ()
    other: tuple[str, ...] = ("t=0 0",)
    name: str = "-"

    @classmethod
    def parse(cls, data: bytes) -> SessionDescription:
        """Parse a description. Bare LF line ends are taken too. Raises SdpError (400)."""
        lines = [line.rstrip("\r") for line in data.decode("utf-8", "surrogateescape").split("\n")]
        lines = [line for line in lines if line]
        if not lines or lines[0] != "v=0":
            raise SdpError("Session description does not start with v=0", 400)
        starts = [index for index, line in enumerate(lines) if line.startswith("m=")]
        if len(starts) > MAX_MEDIA:
            raise SdpError("Too many media descriptions", 400)
        session = lines[1 : starts[0]] if starts else lines[1:]
        origin: Origin | None = None
        connection: str | None = None
        name = "-"
        attributes: list[str] = []
        other: list[str] = []
        for line in session:
            kind, value = _split(line)
            if kind == "o":
                origin = _origin(value)
            elif kind == "s":
                name = value
            elif kind == "c":
                connection = _connection(value)
            elif kind == "a":
                attributes.append(value)
            else:
                other.append(line)
        if origin is None:
            raise SdpError("Session description without an origin", 400)
        direction = next((line for line in attributes if line in DIRECTIONS), "sendrecv")
        bounds = [*starts, len(lines)]
        media = tuple(_media(lines[begin:end], connection, direction) for begin, end in pairwise(bounds))
        return cls(origin, connection, media, tuple(attributes), tuple(other), name)

    @property
    def audio(self) -> Media | None:
        """The first audio description that is not refused; None if there is none."""
        return next((media for media in self.media if media.kind == "audio" and media.port), None)

    def __str__(self) -> str:
        before_connection = [line for line in self.other if line[0] in "iuep"]
        after_connection = [line for line in self.other if line[0] not in "iuep"]
        lines = ["v=0", str(self.origin), f"s={self.name}", *before_connection]
        if self.connection is not None:
            lines.append(connection_line(self.connection))
        lines += after_connection
        lines += [f"a={line}" for line in self.attributes]
        return "\r\n".join(lines) + "\r\n" + "".join(map(str, self.media))

    def to_bytes(self) -> bytes:
        """The description as a message body."""
        return str(self).encode("utf-8", "surrogateescape")


def family(host: str) -> str:
    """IP6 or IP4 (also for names), as an o= or c= line wants it."""
    return "IP6" if ":" in host else "IP4"


def connection_line(host: str) -> str:
    """The c= line for an address."""
    return f"c=IN {family(host)} {host}"


def _attribute(attributes: tuple[str, ...], name: str) -> str | None:
    for line in attributes:
        key, _, value = line.partition(":")
        if key == name:
            return value
    return None


def _split(line: str) -> tuple[str, str]:
    if len(line) < 2 or line[1] != "=" or not ("a" <= line[0] <= "z"):
        raise SdpError("Bad line in the session description", 400)
    return line[0], line[2:]


def _origin(value: str) -> Origin:
    parts = value.split()
    if len(parts) != 6:
        raise SdpError("Bad origin in the session description", 400)
    return Origin(parts[0], parts[1], parts[2], parts[5])


def _connection(value: str) -> str:
    parts = value.split()
    address = parts[2].partition("/")[0] if len(parts) == 3 and parts[0] == "IN" else ""
    if not address:
        raise SdpError("Bad connection in the session description", 400)
    return address


def _rtpmap(text: str) -> tuple[str, int, int]:
    name, _, rest = text.partition("/")
    clock, _, channels = rest.partition("/")
    if not name or not (clock.isascii() and clock.isdigit()) or len(clock) > 7:
        return "", 0, 1
    return (
        name,
        int(clock),
        int(channels) if channels.isascii() and channels.isdigit() and len(channels) < 3 else 1,
    )


def _media(lines: list[str], session_connection: str | None, session_direction: str) -> Media:
    parts = lines[0][2:].split()
    if len(parts) < 4:
        raise SdpError("Bad media line in the session description", 400)
    port_text, slash, count_text = parts[1].partition("/")
    count = count_text if slash else "1"
    if not all(text.isascii() and text.isdigit() and len(text) <= 5 for text in (port_text, count)):
        raise SdpError("Bad port in the session description", 400)
    if int(port_text) > 65535:
        raise SdpError("Bad port in the session description", 400)
    connection: str | None = None
    attributes: list[str] = []
    other: list[str] = []
    for line in lines[1:]:
        kind, value = _split(line)
        if kind == "c":
            connection = connection or _connection(value)
        elif kind == "a":
            attributes.append(value)
        else:
            other.append(line)
    return Media(
        parts[0],
        int(port_text),
        parts[2],
        tuple(parts[3:]),
        connection,
        tuple(attributes),
        int(count),
        tuple(other),
        session_connection,
        session_direction,
    )

"""What is fuzzed: each target takes any bytes, and raises only if something of ours is wrong.

The oracle is more than "it did not crash": what was read is written and read again and must be the same, a stream
gives the same messages however it is cut, and what we make of a description for the other side can be read there.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

from gateway.media.codecs import PCMU
from gateway.media.latch import SymmetricLatch
from gateway.media.live_receiver import LiveReceiver
from gateway.media.receiver import AudioReceiver
from gateway.media.rtcp import Compound, RtcpError
from gateway.media.rtp import RtpError, RtpPacket
from gateway.nat.stun import StunError, mapped_address
from gateway.sip.flow import Flow
from gateway.sip.framing import StreamFramer
from gateway.sip.grammar import LocalProtocolError, SipParseError
from gateway.sip.message import Message, parse_message
from gateway.sip.sdp import SdpError, SessionDescription, answer_offer, with_media_address
from gateway.sip.uri import parse_uri
from gateway.streams.protocol import StreamedCall
from gateway.streams.protocols import PROTOCOLS
from tests.sip.rig import PEER, PEER_TCP, Rig, connect, establish

CALL = StreamedCall("call-1", "+14155550123", "+14155550100", "agt_1", "twilio", ())
HERE = ("198.51.100.9", 20_000)
FLOWS = (PEER, PEER_TCP, Flow("udp", "2001:db8::1", 5060))

SEPARATOR = b"\n--\n"
"""Between the parts of an input that has several: datagrams, messages."""


def message(data: bytes) -> None:
    """One SIP message: read, written, read again."""
    try:
        first = parse_message(data)
    except SipParseError:
        return
    for name in ("contact", "max_forwards", "vias"):
        with suppress(SipParseError):
            getattr(first, name)
    try:
        again = parse_message(first.to_bytes())
    except LocalProtocolError:
        return  # a NUL in a quoted string may be read (RFC 4475 §3.1.1.1), and is never written
    assert _apart_from_length(again) == _apart_from_length(first)
    assert again.body == first.body
    assert again.to_bytes() == first.to_bytes()


def _apart_from_length(message: Message) -> list[tuple[str, str]]:
    """Its headers but the one that is always written last, by the body."""
    return [item for item in message.headers.items() if item[0] != "Content-Length"]


def uri(data: bytes) -> None:
    """A URI: read, written, read again."""
    try:
        first = parse_uri(data.decode("utf-8", "surrogateescape"))
    except SipParseError:
        return
    assert parse_uri(str(first)) == first


def stream(data: bytes) -> None:
    """A TCP stream: the same messages in one piece and byte by byte."""
    whole, pieces = StreamFramer(), StreamFramer()
    found = whole.feed(data)
    one_by_one = [part for index in range(len(data)) for part in pieces.feed(data[index : index + 1])]
    assert found == one_by_one
    assert whole.broken == pieces.broken


def session_description(data: bytes) -> None:
    """An offer: read, written, read again; answered; moved to another address for the other side."""
    try:
        first = SessionDescription.parse(data)
    except SdpError:
        return
    try:
        again = SessionDescription.parse(first.to_bytes())
        assert again.to_bytes() == first.to_bytes()
    except SdpError as error:
        raise AssertionError(f"what we wrote cannot be read: {error}") from error
    for make in (_answer, _moved):
        try:
            made = make(data)
        except SdpError:
            continue
        assert b"\0" not in made or b"\0" in data
        audio = SessionDescription.parse(made).audio
        assert audio is not None
        assert audio.rtp_address == HERE


def _answer(data: bytes) -> bytes:
    return answer_offer(data, *HERE, session_id=1).sdp


def _moved(data: bytes) -> bytes:
    return with_media_address(data, *HERE)


def rtp(data: bytes) -> None:
    """Packets of a stream, through all that listens to one."""
    now = 0.0
    heard: list[bytes] = []
    receiver = AudioReceiver(
        heard.append, lambda key: None, payload_types={}, dtmf_payload_type=101, clock=lambda: now
    )
    live = LiveReceiver({0: PCMU}, PCMU, PCMU, 101, lambda key, way: None)
    latch = SymmetricLatch()
    latch.expect("192.0.2.1", 4000)
    for number, packet in enumerate(data.split(SEPARATOR)):
        now += 0.02
        with suppress(RtpError):
            read = RtpPacket.parse(packet)
            assert len(read.payload) <= len(packet)
            assert RtpPacket.parse(read.to_bytes()) == read
            latch.offer(packet, (f"192.0.2.{number % 3}", 4000))
        receiver.receive(packet)
        live.receive(packet, now)
        assert len(live.frame(now)) == 160  # what an agent is sent in this beat, whatever came
    receiver.flush()
    assert sum(map(len, heard)) <= 20_000 * (1 + data.count(SEPARATOR)) + 2 * len(data) * 2


def rtcp(data: bytes) -> None:
    """A compound packet: read, written, read again."""
    try:
        first = Compound.parse(data)
    except RtcpError:
        return
    try:
        again = Compound.parse(first.to_bytes())
    except (RtcpError, ValueError, OverflowError):
        return  # several packets of one kind do not fit into one: `to_bytes` is for our own
    assert again.reports == first.reports or len(first.reports) > 31


def stun(data: bytes) -> None:
    """What comes to a port where STUN, or something like it, is expected; and where it is not."""
    for transaction in (data[8:20].ljust(12, b"\0"), bytes(12)):
        with suppress(StunError):
            assert mapped_address(data, transaction)
    rtp(data)
    rtcp(data)


def websocket(data: bytes) -> None:
    """What an agent says on a WebSocket, in each protocol: text and binary."""
    for start in PROTOCOLS.values():
        protocol = start(CALL, {})
        protocol.opening()
        for part in data.split(SEPARATOR):
            protocol.receive(part)
            protocol.receive(part.decode("utf-8", "replace"))
        protocol.audio(bytes(160))
        protocol.cleared(["mark"], 160)
        protocol.closing()


def user_agent(data: bytes) -> None:
    """Messages to a user agent with calls both ways; afterwards it must come to rest with nothing left."""
    rig = Rig()
    establish(rig)
    connect(rig)
    for number, part in enumerate(data.split(SEPARATOR)):
        rig.receive(part, FLOWS[number % len(FLOWS)])
        rig.advance(0.1)
    for leg in [*rig.legs, *rig.ua._core.legs.values()]:
        leg.hangup()
    rig.advance(1000)
    rig.assert_idle()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "message": message,
    "uri": uri,
    "stream": stream,
    "session_description": session_description,
    "rtp": rtp,
    "rtcp": rtcp,
    "stun": stun,
    "websocket": websocket,
    "user_agent": user_agent,
}
"""By name; the corpus of each is the directory of that name in `tests/data/fuzz`."""


def mutated(data: bytes, other: bytes, dice: random.Random) -> bytes:
    """The same input with a few things wrong, for where no guided fuzzer is installed."""
    for _ in range(dice.randrange(1, 5)):
        at, length = dice.randrange(len(data) + 1), dice.choice((1, 1, 2, 4, 16, 64))
        match dice.randrange(6):
            case 0:
                data = data[:at] + dice.randbytes(length) + data[at + length :]
            case 1:
                data = data[:at] + data[at + length :]
            case 2:
                data = data[:at] + data[at : at + length] * dice.choice((2, 3, 50)) + data[at + length :]
            case 3:
                begin = dice.randrange(len(other) + 1)
                data = data[:at] + other[begin : begin + length * 4] + data[at:]
            case 4:
                data = data[:at] + dice.choice(INTERESTING) + data[at:]
            case _:
                data = data[: max(1, at)]
    return data


INTERESTING = (
    *(
        b"\0",
        b"\r\n",
        b"\r\n\r\n",
        b'"',
        b"<",
        b">",
        b";",
        b",",
        b":",
        b"@",
        b"%00",
        b"\xff",
        b"\xff\xff\xff\xff",
    ),
    *(b"-1", b"4294967296", b"99999999999999999999", b"\x80", b"\x00\x00\x00\x00", SEPARATOR),
)

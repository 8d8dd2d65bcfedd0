"""CPU of reading and writing single SIP messages: the size of what a carrier sends, one at a time.

    python loadtests/bench_parse.py [--count 20000] [--profile]

Each message is parsed from fresh bytes with tags, branch and Call-ID of its own, so that nothing which
remembers whole values can look better than it is, and the headers that every layer needs are read. The
figures are those of the least disturbed of several rounds.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from gateway.sip.flow import Flow
from gateway.sip.message import Message, Request, parse_message
from gateway.sip.response_writer import ResponseWriter

ROUNDS = 20

GC_THRESHOLD = (50_000, 20, 20)
"""As the gateway sets it."""

SDP = (
    "v=0\r\no=root 1769 1769 IN IP4 203.0.113.1\r\ns=call\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n"
    "m=audio 11706 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:20\r\na=sendrecv\r\n"
)

INVITE = (
    "INVITE sip:+14155550100@voice.example.com:5060 SIP/2.0\r\n"
    "Record-Route: <sip:203.0.113.1;lr;ftag=81283{n}>\r\n"
    "Via: SIP/2.0/UDP 203.0.113.1;branch=z9hG4bK{n}.0\r\n"
    "Via: SIP/2.0/UDP 172.25.9.1:5060;rport=5060;branch=z9hG4bK{n}.1\r\n"
    'From: "+14155550111" <sip:+14155550111@pstn.example.com>;tag=81283{n}\r\n'
    "To: <sip:+14155550100@voice.example.com>\r\n"
    "CSeq: 1 INVITE\r\n"
    "Max-Forwards: 67\r\n"
    "Diversion: <sip:+14155550100@pstn.example.com>;reason=unconditional\r\n"
    "Call-ID: {n}@172.25.9.1\r\n"
    "P-Asserted-Identity: <sip:+14155550111@203.0.113.1:5060>\r\n"
    "Contact: <sip:+14155550111@172.25.9.1:5060;transport=udp>\r\n"
    "Allow: INVITE,ACK,CANCEL,OPTIONS,BYE\r\n"
    "User-Agent: Carrier\r\n"
    "X-Twilio-AccountSid: AC00000000000000000000000000000000\r\n"
    "X-Twilio-CallSid: CA{n:032d}\r\n"
    "Content-Type: application/sdp\r\n"
    f"Content-Length: {len(SDP)}\r\n\r\n{SDP}"
)

ANSWER = (
    "SIP/2.0 200 OK\r\n"
    "Via: SIP/2.0/UDP 198.51.100.9:5080;branch=z9hG4bK{n:016x};rport=5080;received=198.51.100.9\r\n"
    "Record-Route: <sip:192.0.2.20;lr>\r\n"
    "From: <sip:+14155550111@198.51.100.9>;tag={n:016x}\r\n"
    "To: <sip:+14155550100@192.0.2.20>;tag=as{n}\r\n"
    "Call-ID: {n:032x}\r\n"
    "CSeq: 1 INVITE\r\n"
    "Contact: <sip:agent@192.0.2.20:5060>\r\n"
    "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, INFO\r\n"
    "Server: Agent\r\n"
    "Content-Type: application/sdp\r\n"
    f"Content-Length: {len(SDP)}\r\n\r\n{SDP}"
)

BYE = (
    "BYE sip:198.51.100.9:5060;transport=udp SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 203.0.113.1;branch=z9hG4bK{n}.2\r\n"
    "From: <sip:+14155550111@pstn.example.com>;tag=81283{n}\r\n"
    "To: <sip:+14155550100@voice.example.com>;tag={n:016x}\r\n"
    "Call-ID: {n}@172.25.9.1\r\n"
    "CSeq: 2 BYE\r\n"
    "Max-Forwards: 67\r\n"
    "User-Agent: Carrier\r\n"
    "Content-Length: 0\r\n\r\n"
)

_Item = TypeVar("_Item")

SOURCE = Flow("udp", "203.0.113.1", 5060)


def main() -> None:
    """Print µs per message read and per response written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=20_000, help="messages of each kind")
    parser.add_argument("--profile", action="store_true", help="where the time of the INVITEs goes")
    options = parser.parse_args()
    count: int = options.count
    gc.set_threshold(*GC_THRESHOLD)
    for name, template in (("INVITE", INVITE), ("200", ANSWER), ("BYE", BYE)):
        messages = [template.format(n=1_000_000 + n).encode() for n in range(count)]
        if options.profile and template is INVITE:
            _profile(messages)
        print(f"{name} of {len(messages[0])} bytes read: {_per_item(messages, _read):.1f} µs")
    requests = [_request(INVITE.format(n=1_000_000 + n).encode()) for n in range(count)]
    print(f"200 to an INVITE written: {_per_item(requests, _answer):.1f} µs")


def _read(data: bytes) -> None:
    message: Message = parse_message(data)
    _ = message.via.branch, message.from_.tag, message.to.tag, message.cseq, message.call_id


def _answer(request: Request) -> None:
    writer = ResponseWriter(request, SOURCE, "0123456789abcdef")
    writer.write(200, headers=(("Content-Type", "application/sdp"),), body=b"", forms_dialog=True)


def _request(data: bytes) -> Request:
    message = parse_message(data)
    if not isinstance(message, Request):
        raise TypeError(type(message))
    return message


def _per_item(items: Sequence[_Item], work: Callable[[_Item], None]) -> float:
    """µs of CPU per item."""
    rounds: list[float] = []
    size = max(1, len(items) // ROUNDS)
    for start in range(0, size * ROUNDS, size):
        part = items[start : start + size]
        before = time.process_time()
        for item in part:
            work(item)
        rounds.append((time.process_time() - before) / max(1, len(part)) * 1e6)
    return min(rounds)


def _profile(messages: Sequence[bytes]) -> None:
    profile = cProfile.Profile()
    profile.enable()
    for data in messages:
        _read(data)
    profile.disable()
    pstats.Stats(profile).sort_stats("tottime").print_stats(16)


if __name__ == "__main__":
    main()

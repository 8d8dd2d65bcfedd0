"""CPU of the SIP core alone: whole B2BUA calls, scripted, in virtual time, without a socket.

    python loadtests/bench_core.py [--calls 20000] [--profile]

One user agent plays the gateway; carrier and agent are canned messages. A call is 14 messages: INVITE,
100, 180, 200, ACK, BYE, 200 on the caller's leg, and the same on the agent's; parsing and writing included,
timers as well. Only time inside the gateway's user agent counts, and parsing once more apart. Calls overlap,
and virtual time passes at `RATE` calls a second, so that tables and timers are as full as in service.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import itertools
import pstats
import time
from collections.abc import Callable

from gateway.sip import user_agent
from gateway.sip.events import AckReceived, AnswerReceived, Event, HungUp, LegEnded, ProvisionalReceived
from gateway.sip.flow import Flow
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.message import Request, Response, parse_message
from gateway.sip.outbound_leg import OutboundLeg
from gateway.sip.user_agent import UserAgent

RATE = 400.0
"""Calls a second of virtual time."""

GC_THRESHOLD = (50_000, 20, 20)
"""As the gateway sets it."""

CARRIER = Flow("udp", "203.0.113.1", 5060)
AGENT = Flow("udp", "192.0.2.20", 5060, 1)

SDP = (
    b"v=0\r\no=root 1769 1769 IN IP4 203.0.113.1\r\ns=call\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n"
    b"m=audio 11706 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:20\r\na=sendrecv\r\n"
)

INVITE_HEAD = (
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
)

IN_DIALOG = (
    "{method} sip:198.51.100.1:5060 SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 203.0.113.1;branch=z9hG4bK{n}.{method}\r\n"
    "Via: SIP/2.0/UDP 172.25.9.1:5060;rport=5060;branch=z9hG4bK{n}.1{method}\r\n"
    'From: "+14155550111" <sip:+14155550111@pstn.example.com>;tag=81283{n}\r\n'
    "To: <sip:+14155550100@voice.example.com>;tag={tag}\r\n"
    "Call-ID: {n}@172.25.9.1\r\n"
    "CSeq: {cseq} {method}\r\n"
    "Max-Forwards: 67\r\n"
    "User-Agent: Carrier\r\n"
    "Content-Length: 0\r\n\r\n"
)


class LastSent:
    """A sink that keeps only the last message sent to the agent."""

    def __init__(self) -> None:
        self.to_agent = b""
        self.sent = 0

    def send(self, flow: Flow, data: bytes) -> None:
        self.sent += 1
        if flow.channel == AGENT.channel:
            self.to_agent = data

    def flow_to(self, near: Flow, transport: str, host: str, port: int) -> Flow:
        return Flow(transport, host, port, near.channel)

    def local_address(self, flow: Flow) -> tuple[str, int]:
        return "198.51.100.1", 5060

    def is_open(self, flow: Flow) -> bool:
        return True

    def wake(self, deadline: float) -> None: ...
    def message(self, direction: str, method: str, code: int) -> None: ...
    def retransmission(self, direction: str) -> None: ...
    def dropped(self, reason: str) -> None: ...


class Call:
    """The owner of one B2BUA call, as thin as it can be."""

    __slots__ = ("agent", "caller")

    def __init__(self, ua: UserAgent, caller: InboundLeg) -> None:
        self.caller = caller
        caller.listener = self.on_caller
        caller.ring()
        self.agent: OutboundLeg = ua.invite(
            "sip:agent@192.0.2.20",
            AGENT,
            from_=caller.request.headers.get("From").partition(";")[0],
            to="<sip:agent@192.0.2.20>",
            body=caller.request.body,
            headers=(("X-Agent-Id", "agt_1"), ("X-Call-Id", "1"), ("X-Dialled-Number", "+14155550100")),
            listener=self.on_agent,
        )

    def on_caller(self, event: Event) -> None:
        if isinstance(event, HungUp):
            self.agent.hangup()
        else:
            assert isinstance(event, AckReceived), event

    def on_agent(self, event: Event) -> None:
        if isinstance(event, AnswerReceived):
            self.caller.answer(event.response.body)
        else:
            assert isinstance(event, (ProvisionalReceived, LegEnded)), event


class Bench:
    """Plays carrier and agent, and measures what the gateway takes."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cpu = self.parsing = 0.0
        self.network = LastSent()
        numbers = itertools.count(1)
        self.calls: list[Call] = []
        self.ua = UserAgent(
            self.network,
            lambda: self.now,
            lambda: f"{next(numbers):016x}",
            on_invite=lambda leg: self.calls.append(Call(self.ua, leg)),
        )

        user_agent.parse_message = self.parse

    def parse(self, data: bytes) -> Request | Response:
        start = time.thread_time()
        message = parse_message(data)
        self.parsing += time.thread_time() - start
        return message

    def timed(self, action: Callable[..., None], *args: object) -> None:
        start = time.thread_time()
        action(*args)
        self.cpu += time.thread_time() - start

    def agent_says(self, request: bytes, status: str, body: bytes = b"") -> None:
        head = request.decode().split("\r\n\r\n")[0].split("\r\n")[1:]
        kept = [line for line in head if line.startswith(("Via:", "From:", "Call-ID:", "CSeq:"))]
        to = next(line for line in head if line.startswith("To:"))
        if not status.startswith("100") and "tag=" not in to:
            to += ";tag=agent1"
        lines = [f"SIP/2.0 {status}", *kept, to, "Contact: <sip:agent@192.0.2.20:5060>", "Server: Agent"]
        if body:
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(body)}\r\n\r\n")
        self.timed(self.ua.receive, "\r\n".join(lines).encode() + body, AGENT)

    def start(self, n: int) -> tuple[int, Call]:
        head = INVITE_HEAD.format(n=n) + f"Content-Length: {len(SDP)}\r\n\r\n"
        self.timed(self.ua.receive, head.encode() + SDP, CARRIER)
        invite = self.network.to_agent
        call = self.calls.pop()
        self.agent_says(invite, "100 Trying")
        self.agent_says(invite, "180 Ringing")
        self.agent_says(invite, "200 OK", SDP)
        self.carrier_says(n, call, "ACK", 1)
        return n, call

    def carrier_says(self, n: int, call: Call, method: str, cseq: int) -> None:
        text = IN_DIALOG.format(method=method, n=n, tag=call.caller.local_tag, cseq=cseq)
        self.timed(self.ua.receive, text.encode(), CARRIER)

    def finish(self, n: int, call: Call) -> None:
        self.carrier_says(n, call, "BYE", 2)
        self.agent_says(self.network.to_agent, "200 OK")

    def run(self, count: int) -> float:
        """Microseconds of CPU a call."""
        self.cpu = self.parsing = 0.0
        up: list[tuple[int, Call]] = []
        for n in range(count):
            self.now += 1 / RATE
            self.timed(self.ua.handle_timers)
            up.append(self.start(n + int(self.now * 1e6)))
            if len(up) > RATE * 3:  # each call lasts 3 s
                self.finish(*up.pop(0))
        while up:
            self.finish(*up.pop())
        return self.cpu / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    bench = Bench()
    bench.run(2_000)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    if options.profile:
        profile = cProfile.Profile()
        profile.enable()
        bench.run(options.calls)
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
        return
    cost = bench.run(options.calls)
    transactions = sum(bench.ua.transaction_counts.values())
    parsing = bench.parsing / options.calls * 1e6
    print(f"{cost:.0f} µs of CPU a call ({cost / 14:.1f} µs a message), of which parsing {parsing:.0f} µs")
    alive = f"{transactions} transactions, {bench.ua.timer_count} timers, {bench.ua.leg_count} legs"
    print(f"alive at the end: {alive}")


if __name__ == "__main__":
    main()

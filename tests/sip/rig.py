"""A user agent under glass: fake time, a sink that records, and a peer that speaks raw SIP."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from gateway.sip.events import Event
from gateway.sip.extensions import Extensions
from gateway.sip.flow import Flow
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.message import Request, Response, parse_message
from gateway.sip.outbound_leg import OutboundLeg
from gateway.sip.timers import TimerQueue
from gateway.sip.transaction_layer import TransactionLayer
from gateway.sip.user_agent import UserAgent

PEER = Flow("udp", "192.0.2.10", 5060)
PEER_TCP = Flow("tcp", "192.0.2.10", 40000, 7)
OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
)
ANSWER = OFFER.replace(b"192.0.2.10", b"198.51.100.1").replace(b"4000", b"5000")
CALLER_TAG = "caller"


class FakeClock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class RecordingSink:
    """Keeps what is sent until somebody takes it, and counts."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.sent: list[tuple[float, Flow, bytes]] = []
        self.wakes: list[float] = []
        self.drops: list[str] = []
        self.messages: list[tuple[str, str, int]] = []
        self.retransmissions = {"in": 0, "out": 0}
        self.closed: set[Flow] = set()

    def send(self, flow: Flow, data: bytes) -> None:
        self.sent.append((self.clock.now, flow, data))

    def flow_to(self, near: Flow, transport: str, host: str, port: int) -> Flow:
        return Flow(transport, host, port, near.channel if transport == "udp" else 0)

    def local_address(self, flow: Flow) -> tuple[str, int]:
        return "198.51.100.1", 5060

    def is_open(self, flow: Flow) -> bool:
        return flow.channel != 0 and flow not in self.closed

    def wake(self, deadline: float) -> None:
        self.wakes.append(deadline)

    def message(self, direction: str, method: str, code: int) -> None:
        self.messages.append((direction, method, code))

    def retransmission(self, direction: str) -> None:
        self.retransmissions[direction] += 1

    def dropped(self, reason: str) -> None:
        self.drops.append(reason)


def counting_tokens() -> Callable[[], str]:
    """Tokens that are different and the same in every run."""
    numbers = itertools.count(1)
    return lambda: f"{next(numbers) * 0x9E3779B97F4A7C15 % 2**64:016x}"


class LayerRig:
    """A transaction layer alone."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.sink = RecordingSink(self.clock)
        self.timers = TimerQueue(self.clock, self.sink.wake)
        self.layer = TransactionLayer(self.sink, self.timers, counting_tokens())

    def advance(self, seconds: float) -> None:
        """Let time pass, each deadline at its own time."""
        end = self.clock.now + seconds
        while (deadline := self.timers.next_deadline()) is not None and deadline <= end:
            self.clock.now = deadline
            self.timers.run_due()
        self.clock.now = end

    def methods(self) -> list[str]:
        """The methods of the requests sent."""
        return [data.split(b" ", 1)[0].decode() for _, _, data in self.sink.sent]

    def assert_empty(self) -> None:
        assert set(self.layer.counts.values()) == {0}
        assert len(self.timers) == 0
        assert self.layer.tables_empty


class Rig:
    """One user agent and the hand of the test on both its sides."""

    def __init__(self, extensions: Extensions | None = None) -> None:
        self.clock = FakeClock()
        self.sink = RecordingSink(self.clock)
        self.legs: list[InboundLeg] = []
        self.events: list[Event] = []
        self.options: tuple[int, tuple[tuple[str, str], ...]] = (200, ())
        self.refusal: tuple[int, tuple[tuple[str, str], ...]] | None = None
        self.names: dict[str, str] = {}
        self.listen = True
        self.ua = UserAgent(
            self.sink,
            self.clock,
            counting_tokens(),
            on_invite=self._on_invite,
            refuse_call=lambda peer: self.refusal,
            options_status=lambda: self.options,
            resolve=self.names.get,
            extensions=extensions,
        )

    def _on_invite(self, leg: InboundLeg) -> None:
        self.legs.append(leg)
        if self.listen:
            leg.listener = self.events.append

    # --- the network's side

    def receive(self, text: str | bytes, flow: Flow = PEER, peer: object = None) -> None:
        self.ua.receive(text if isinstance(text, bytes) else text.encode(), flow, peer)

    def take(self) -> list[Request | Response]:
        """Everything sent since the last time."""
        sent, self.sink.sent = self.sink.sent, []
        return [parse_message(data) for _, _, data in sent]

    def take_one(self) -> Request | Response:
        (message,) = self.take()
        return message

    def take_request(self, method: str) -> Request:
        message = self.take_one()
        assert isinstance(message, Request), message
        assert message.method == method
        return message

    def take_response(self, status: int) -> Response:
        message = self.take_one()
        assert isinstance(message, Response), message
        assert message.status == status, (message.status, message.reason)
        return message

    def flows(self) -> list[Flow]:
        return [flow for _, flow, _ in self.sink.sent]

    def sent_at(self) -> list[float]:
        """Seconds since the start at which the messages not yet taken were sent."""
        return [round(at - 100.0, 6) for at, _, _ in self.sink.sent]

    def advance(self, seconds: float) -> None:
        """Let time pass, each deadline at its own time."""
        end = self.clock.now + seconds
        while (deadline := self.ua.next_deadline()) is not None and deadline <= end:
            self.clock.now = max(self.clock.now, deadline)
            self.ua.handle_timers()
        self.clock.now = end

    def take_events(self) -> list[Event]:
        events, self.events[:] = list(self.events), []
        return events

    # --- the owner's side

    def call(self, flow: Flow = PEER, body: bytes = OFFER, **kwargs: object) -> OutboundLeg:
        return self.ua.invite(
            "sip:agent@192.0.2.10",
            flow,
            from_="<sip:+14155550100@198.51.100.1>",
            to="<sip:agent@192.0.2.10>",
            body=body,
            listener=self.events.append,
            **kwargs,  # type: ignore[arg-type]
        )

    def assert_idle(self) -> None:
        """Nothing is left: no leg, no transaction, no timer, no remembered call."""
        assert self.ua.leg_count == 0
        assert self.ua.transaction_counts == {
            "invite_client": 0,
            "invite_server": 0,
            "client": 0,
            "server": 0,
        }
        assert self.ua.call_key_count == 0
        assert self.ua.timer_count == 0
        assert self.ua.next_deadline() is None


def request(
    method: str = "INVITE",
    *,
    uri: str = "sip:+14155550100@198.51.100.1",
    branch: str = "z9hG4bKcaller1",
    via: str | None = None,
    cseq: int = 1,
    from_tag: str = CALLER_TAG,
    to_tag: str | None = None,
    call_id: str = "call-1@192.0.2.10",
    contact: str | None = "<sip:caller@192.0.2.10:5060>",
    extra: str = "",
    body: bytes | None = None,
) -> bytes:
    """A request of the peer's; an INVITE makes an offer unless told otherwise."""
    if body is None:
        body = OFFER if method == "INVITE" else b""
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: {via or f'SIP/2.0/UDP 192.0.2.10:5060;branch={branch}'}",
        "Max-Forwards: 70",
        f"From: <sip:+14155550111@192.0.2.10>;tag={from_tag}",
        f"To: <sip:+14155550100@198.51.100.1>{f';tag={to_tag}' if to_tag else ''}",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {method}",
    ]
    if contact and method in {"INVITE", "OPTIONS"}:
        lines.append(f"Contact: {contact}")
    if body and "Content-Type" not in extra:
        lines.append("Content-Type: application/sdp")
    lines += extra.splitlines()
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def response(
    to: Request,
    status: int,
    *,
    tag: str | None = "agent",
    contact: str | None = "<sip:agent@192.0.2.10:5060>",
    record_route: tuple[str, ...] = (),
    extra: str = "",
    body: bytes | None = None,
) -> bytes:
    """The peer's response to a request of ours; a 2xx to an INVITE makes an answer unless told otherwise."""
    if body is None:
        body = ANSWER if 200 <= status < 300 and to.method == "INVITE" else b""
    to_value = to.headers.get("To") or ""
    if tag and "tag=" not in to_value and status > 100:
        to_value += f";tag={tag}"
    lines = [
        f"SIP/2.0 {status} Whatever",
        *(f"Via: {value}" for value in to.headers.get_all("Via")),
        f"From: {to.headers.get('From')}",
        f"To: {to_value}",
        f"Call-ID: {to.call_id}",
        f"CSeq: {to.cseq} {to.method}",
        *(f"Record-Route: {route}" for route in record_route),
    ]
    if contact and 100 < status < 300:
        lines.append(f"Contact: {contact}")
    if body:
        lines.append("Content-Type: application/sdp")
    lines += extra.splitlines()
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def establish(rig: Rig) -> InboundLeg:
    """A caller's call, up."""
    rig.receive(request())
    leg = rig.legs[-1]
    leg.answer(ANSWER)
    rig.receive(request("ACK", branch="z9hG4bKack1", to_tag=leg.local_tag))
    rig.take()
    rig.take_events()
    return leg


def connect(rig: Rig, **kwargs: object) -> tuple[OutboundLeg, Request]:
    """A call of ours, up; with its INVITE."""
    leg = rig.call(**kwargs)  # type: ignore[arg-type]
    invite = rig.take_request("INVITE")
    rig.receive(response(invite, 200))
    rig.take()
    rig.take_events()
    return leg, invite

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.sip.endpoint import SipEndpoint
from gateway.sip.events import AckReceived, AnswerReceived, Event, FailureReceived, HungUp, LegEnded
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.listeners import ListenError, PortTakenError
from gateway.sip.message import Request, Response, parse_message
from gateway.sip.resolver import ResolveError
from gateway.sip.sink import Direction
from gateway.sip.tls import Tls
from gateway.sip.transport import SocketNetwork
from tests.certificates import Authority
from tests.sip.recorder import until

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])

OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n"
)
ANSWER = OFFER.replace(b"192.0.2.1", b"192.0.2.2")


class Counts:
    """Fulfils `gateway.sip.bridge.Observer`."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str, int]] = []
        self.drops: Counter[str] = Counter()

    def message(self, direction: Direction, method: str, code: int) -> None:
        self.messages.append((direction, method, code))

    def retransmission(self, direction: Direction) -> None:
        self.messages.append((direction, "again", 0))

    def dropped(self, reason: str) -> None:
        self.drops[reason] += 1


class House:
    """An endpoint with everything it tells written down."""

    def __init__(self, **options: Any) -> None:
        self.counts = Counts()
        self.errors: list[tuple[str, Exception]] = []
        self.legs: list[InboundLeg] = []
        self.events: list[Event] = []
        self.admitted: object | None = "some carrier"
        self.on_invite: Callable[[InboundLeg], None] = lambda leg: None
        options = {"listen": ["127.0.0.1:0"], "agent_listen": ["127.0.0.1:0"]} | options
        self.endpoint = SipEndpoint(
            admit=lambda host: self.admitted,
            on_invite=self._invited,
            observer=self.counts,
            on_error=lambda where, error: self.errors.append((where, error)),
            **options,
        )

    def _invited(self, leg: InboundLeg) -> None:
        leg.listener = self.events.append
        self.legs.append(leg)
        self.on_invite(leg)

    @property
    def port(self) -> int:
        return self.endpoint.carrier_addresses[0][1]

    def uri(self, transport: str = "udp") -> str:
        host, port = self.endpoint.carrier_addresses[0]
        return f"sip:+14155550100@{f'[{host}]' if ':' in host else host}:{port};transport={transport}"

    async def call(self, uri: str, body: bytes = OFFER) -> Any:
        return self.endpoint.invite(
            uri,
            await self.endpoint.connect(uri),
            from_="<sip:+14155550101@caller.invalid>",
            to=f"<{uri}>",
            body=body,
            listener=self.events.append,
        )

    def has(self, kind: type[Event]) -> bool:
        return any(isinstance(event, kind) for event in self.events)


Open = Callable[..., Awaitable[House]]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Starts a `House`; all are stopped after the test, which must have left no error behind."""
    houses: list[House] = []

    async def start(**options: Any) -> House:
        house = House(**options)
        await house.endpoint.start()
        houses.append(house)
        return house

    yield start
    for house in houses:
        await house.endpoint.stop()
        assert not house.errors


class Wire:
    """A plain UDP socket that speaks SIP by hand."""

    def __init__(self, house: House, host: str = "127.0.0.1") -> None:
        self._house = house
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.host, self.port = self.socket.getsockname()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def request(
        self, method: str, *, via: str | None = None, to_tag: str = "", branch: str = "1", cseq: int = 1
    ) -> bytes:
        via = via or f"{self.host}:{self.port};rport"
        return (
            f"{method} sip:+14155550100@127.0.0.1 SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {via};branch=z9hG4bK{branch}\r\n"
            f"From: <sip:+14155550101@caller.invalid>;tag=f\r\nTo: <sip:+14155550100@x.invalid>{to_tag}\r\n"
            f"Call-ID: {branch}@caller.invalid\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:{self.host}:{self.port}>\r\nContent-Length: 0\r\n\r\n"
        ).encode()

    def send(self, data: bytes, port: int | None = None) -> None:
        self.socket.sendto(data, ("127.0.0.1", port or self._house.port))

    async def receive(self) -> Request | Response:
        async with asyncio.timeout(5):
            while True:
                try:
                    return parse_message(self.socket.recv(65_535))
                except BlockingIOError:
                    await asyncio.sleep(0.002)

    async def silence(self) -> None:
        """Nothing has come, and nothing comes."""
        await asyncio.sleep(0.02)
        with pytest.raises(BlockingIOError):
            self.socket.recv(65_535)


async def called_from(house: House, wire: Wire) -> int:
    """Have the house call the wire, which is a host called lately then; returns the agents' port."""
    uri = f"sip:agent@{wire.host}:{wire.port}"
    house.endpoint.request("OPTIONS", uri, await house.endpoint.connect(uri), on_result=lambda *_: None)
    await wire.receive()
    return house.endpoint.agent_addresses[0][1]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_a_whole_call_between_two_endpoints(opened: Open, transport: str, host: str) -> None:
    caller = await opened(listen=[], agent_listen=[f"{host}:0"])
    callee = await opened(listen=[f"{host}:0"])
    callee.on_invite = lambda leg: leg.answer(ANSWER)
    leg = await caller.call(callee.uri(transport))
    await until(lambda: callee.has(AckReceived))
    assert callee.legs[0].peer == "some carrier"
    assert callee.legs[0].request.body == OFFER
    assert callee.legs[0].flow.transport == transport
    assert next(e for e in caller.events if isinstance(e, AnswerReceived)).response.body == ANSWER
    leg.hangup()
    await until(lambda: caller.has(LegEnded) and callee.has(HungUp))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_the_callee_hangs_up_along_the_callers_contact(opened: Open, transport: str) -> None:
    caller, callee = await opened(listen=[]), await opened()
    callee.on_invite = lambda leg: leg.answer(ANSWER)
    await caller.call(callee.uri(transport))
    await until(lambda: callee.has(AckReceived))
    host, port = caller.endpoint.agent_addresses[0]
    suffix = "" if transport == "udp" else ";transport=tcp"
    assert callee.legs[0].remote_contact == f"sip:{host}:{port}{suffix}"
    callee.legs[0].hangup()
    await until(lambda: caller.has(HungUp) and callee.has(LegEnded))


async def test_an_agent_that_is_not_there_fails_at_once(opened: Open) -> None:
    caller, callee = await opened(), await opened()
    uris = [callee.uri(transport) for transport in ("udp", "tcp")]
    await callee.endpoint.stop()
    for count, uri in enumerate(uris, 1):
        await caller.call(uri)
        await until(lambda expected=count: len(caller.events) == expected)
    for event in caller.events:
        assert isinstance(event, FailureReceived)
        assert (event.status, event.cause) == (503, "transport")


async def test_an_invite_too_large_for_a_datagram_goes_over_tcp(opened: Open) -> None:
    caller, callee = await opened(listen=[]), await opened()
    await caller.call(callee.uri(), OFFER + b"a=x\r\n" * 300)
    await until(lambda: bool(callee.legs))
    assert callee.legs[0].flow.transport == "tcp"
    callee.legs[0].refuse(486)
    await until(lambda: caller.has(FailureReceived))


async def test_strangers_get_silence_and_are_counted(opened: Open) -> None:
    house = await opened()
    house.admitted = None
    with Wire(house) as wire:
        for data in (wire.request("INVITE"), wire.request("OPTIONS"), b"nonsense", wire.request("ACK")):
            wire.send(data)
        await until(lambda: house.counts.drops["unknown_source"] == 4)
        await wire.silence()
    assert not house.legs
    assert not house.counts.messages


async def test_strangers_are_told_so_if_that_is_configured(opened: Open) -> None:
    house = await opened(reject_unknown=True)
    house.admitted = None
    with Wire(house) as wire:
        wire.send(wire.request("INVITE"))
        wire.send(wire.request("INVITE"))
        first, second = await wire.receive(), await wire.receive()
        assert isinstance(first, Response) and isinstance(second, Response)
        assert first.status == 403
        assert first.to_tag
        assert first.to_tag == second.to_tag
        assert first.headers.get("Reason") == 'SIP;cause=403;text="Source Address Not Admitted"'
        for data in (
            wire.request("ACK"),
            b"nonsense",
            b"SIP/2.0 200 OK\r\n\r\n",
            b"INVITE sip:x SIP/2.0\r\n\r\n",
        ):
            wire.send(data)
        await until(lambda: house.counts.drops["unknown_source"] == 6)
        await wire.silence()
    assert house.counts.messages == [("out", "INVITE", 403)] * 2


@pytest.mark.parametrize("reject_unknown", [False, True])
async def test_a_strangers_connection(opened: Open, reject_unknown: bool) -> None:
    house = await opened(reject_unknown=reject_unknown)
    house.admitted = None
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    with Wire(house) as wire:
        writer.write(wire.request("OPTIONS").replace(b"2.0/UDP", b"2.0/TCP"))
    answer = await asyncio.wait_for(reader.read(1_000) if reject_unknown else reader.read(), 5)
    assert answer.startswith(b"SIP/2.0 403 ") if reject_unknown else answer == b""
    assert house.counts.drops["unknown_source"] == 1
    writer.close()


@pytest.mark.parametrize(
    ("rport", "own_port"),
    [(True, True), (False, False)],
    ids=["rport: to the source port", "none: to the Via's port"],
)
async def test_a_udp_response_goes_where_the_via_says(opened: Open, rport: bool, own_port: bool) -> None:
    house = await opened()
    with Wire(house) as sender, Wire(house) as named:
        via = f"carrier.invalid:{named.port}" + (";rport" if rport else "")
        sender.send(sender.request("OPTIONS", via=via))
        answer = await (sender if own_port else named).receive()
        assert isinstance(answer, Response)
        assert answer.status == 200
        assert answer.via.param("received") == "127.0.0.1"
        assert answer.via.param("rport") == (str(sender.port) if rport else None)


async def test_a_stream_response_goes_back_through_its_connection_or_a_new_one(opened: Open) -> None:
    house = await opened()
    accepted: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    server = await asyncio.start_server(lambda *pair: accepted.append(pair), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    with Wire(house) as wire:
        writer.write(wire.request("INVITE", via=f"127.0.0.1:{port}").replace(b"2.0/UDP", b"2.0/TCP"))
    trying = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert trying.startswith(b"SIP/2.0 100 ")
    flow = house.legs[0].flow
    writer.transport.abort()
    await until(lambda: not house.endpoint._bridge.is_open(flow))
    house.legs[0].refuse(486)
    await until(lambda: bool(accepted))
    assert (await asyncio.wait_for(accepted[0][0].readuntil(b"\r\n"), 5)).startswith(b"SIP/2.0 486 ")
    for _, each in [(reader, writer), *accepted]:
        each.close()
    server.close()


async def test_the_agents_side_hears_only_whom_we_called(opened: Open) -> None:
    house = await opened()
    with Wire(house) as stranger, Wire(house, "127.0.0.2") as agent:
        port = await called_from(house, agent)
        stranger.send(stranger.request("OPTIONS", branch="2"), port)
        stranger.send(b"nonsense", port)
        await until(lambda: house.counts.drops["unknown_source"] == 2)
        await stranger.silence()
        agent.send(agent.request("OPTIONS", branch="3"), port)
        assert (await agent.receive()).headers.get("CSeq") == "1 OPTIONS"


async def test_inside_a_dialog_the_tag_vouches_for_the_sender(opened: Open) -> None:
    house = await opened()
    with Wire(house) as stranger:
        stranger.send(stranger.request("BYE", to_tag=";tag=guessed"), house.endpoint.agent_addresses[0][1])
        answer = await stranger.receive()
        assert isinstance(answer, Response)
        assert answer.status == 481
        stranger.send(stranger.request("OPTIONS", branch="2"), house.endpoint.agent_addresses[0][1])
        await until(lambda: house.counts.drops["unknown_source"] == 1)
        await stranger.silence()


async def test_no_call_begins_on_the_agents_side(opened: Open) -> None:
    house = await opened()
    with Wire(house) as agent:
        port = await called_from(house, agent)
        agent.send(agent.request("INVITE", branch="2"), port)
        await until(lambda: house.counts.drops["unknown_source"] == 1)
        await agent.silence()
    assert not house.legs


async def test_a_strangers_connection_to_the_agents_side_is_closed(opened: Open) -> None:
    house = await opened()
    reader, writer = await asyncio.open_connection(*house.endpoint.agent_addresses[0])
    assert await asyncio.wait_for(reader.read(), 5) == b""
    assert house.counts.drops["unknown_source"] == 1
    writer.close()


async def test_a_handler_that_raises_costs_one_call_only(opened: Open) -> None:
    house = await opened()

    def fail(leg: InboundLeg) -> None:
        raise RuntimeError("a bug")

    house.on_invite = fail
    with Wire(house) as wire:
        wire.send(wire.request("INVITE"))
        assert (await wire.receive()).headers.get("CSeq") == "1 INVITE"
        refusal = await wire.receive()
        assert isinstance(refusal, Response)
        assert refusal.status == 500
        wire.send(wire.request("ACK", to_tag=f";tag={refusal.to_tag}"))
        wire.send(wire.request("OPTIONS", branch="2"))
        assert (await wire.receive()).headers.get("CSeq") == "1 OPTIONS"
    assert [where for where, _ in house.errors] == ["taking a call"]
    assert house.counts.drops == {"internal_error": 1}
    house.errors.clear()


async def test_a_listener_that_raises_stops_neither_messages_nor_timers(opened: Open) -> None:
    house = await opened()
    house.on_invite = lambda leg: leg.answer(ANSWER)

    def fail(event: Event) -> None:
        raise RuntimeError("a bug")

    with Wire(house) as wire:
        wire.send(wire.request("INVITE"))
        await wire.receive()
        answer = await wire.receive()
        house.legs[0].listener = fail
        wire.send(wire.request("ACK", to_tag=f";tag={answer.to_tag}", branch="1"))
        await until(lambda: bool(house.errors))
        wire.send(wire.request("OPTIONS", branch="2"))
        assert (await wire.receive()).headers.get("CSeq") == "1 OPTIONS"
    assert [where for where, _ in house.errors] == ["receiving a message"]
    house.errors.clear()


async def test_a_timer_that_raises_is_followed_by_the_next_one(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await opened()
    core = house.endpoint._bridge.core
    fired: list[float] = []

    class Faulty:
        next_deadline = staticmethod(lambda: asyncio.get_running_loop().time() - 1)

        def handle_timers(self) -> None:
            fired.append(asyncio.get_running_loop().time())
            if len(fired) < 3:
                raise RuntimeError("a bug")

    house.endpoint._bridge.core = Faulty()  # type: ignore[assignment]
    house.endpoint._bridge.wake(asyncio.get_running_loop().time())
    await until(lambda: len(fired) == 3)
    assert [where for where, _ in house.errors] == ["a timer"] * 2
    assert fired[1] - fired[0] >= 0.04  # not in a tight loop
    house.errors.clear()
    house.endpoint._bridge.core = core


async def test_retransmissions_come_by_the_one_timer(opened: Open) -> None:
    house = await opened()
    with Wire(house) as agent:
        await called_from(house, agent)
        assert (await agent.receive()).headers.get("CSeq") == "1 OPTIONS"  # again, after T1
    assert ("out", "again", 0) in house.counts.messages


async def test_a_wildcard_listener_names_the_address_that_faces_the_peer(opened: Open) -> None:
    caller, callee = await opened(listen=[], agent_listen=["0.0.0.0:0"]), await opened(listen=["0.0.0.0:0"])
    callee.on_invite = lambda leg: leg.answer(ANSWER)
    port = callee.port
    await caller.call(f"sip:x@127.0.0.1:{port}")
    await until(lambda: caller.has(AnswerReceived))
    answer = next(e for e in caller.events if isinstance(e, AnswerReceived)).response
    assert answer.contact is not None
    assert answer.contact.uri == f"sip:127.0.0.1:{port}"


async def test_an_advertised_host_is_what_carriers_see_and_local_agents_do_not(opened: Open) -> None:
    house = await opened(advertised_host="voice.example.com")
    with Wire(house) as wire:
        house.on_invite = lambda leg: leg.answer(ANSWER)
        wire.send(wire.request("INVITE"))
        await wire.receive()
        answer = await wire.receive()
        assert answer.contact is not None
        assert answer.contact.uri == f"sip:voice.example.com:{house.port}"
        uri = f"sip:agent@{wire.host}:{wire.port}"
        house.endpoint.request("OPTIONS", uri, await house.endpoint.connect(uri), on_result=lambda *_: None)
        while not isinstance(request := await wire.receive(), Request):
            pass
        assert request.via.host == "127.0.0.1"


async def test_an_agent_on_the_internet_is_told_the_advertised_host(opened: Open) -> None:
    house = await opened(advertised_host="voice.example.com")
    flow = await house.endpoint.connect("sip:agent@8.8.8.8")
    host, port = house.endpoint._bridge.local_address(flow)
    assert (host, port) == ("voice.example.com", house.endpoint.agent_addresses[0][1])


async def test_an_advertised_address_is_told_to_its_own_family_only(opened: Open) -> None:
    house = await opened(
        advertised_host="203.0.113.5",
        listen=["127.0.0.1:0", "[::1]:0"],
        agent_listen=["127.0.0.1:0", "[::1]:0"],
    )
    endpoint = house.endpoint
    assert endpoint._advertised_to_carrier("198.51.100.1", "10.0.0.1") == "203.0.113.5"
    assert endpoint._advertised_to_carrier("2001:db8::1", "2001:db8::5") == "2001:db8::5"
    assert endpoint._bridge.local_address(await endpoint.connect("sip:a@8.8.8.8"))[0] == "203.0.113.5"
    assert endpoint._bridge.local_address(await endpoint.connect("sip:a@[2606:4700::1111]"))[0] == "::1"


async def test_an_agent_of_a_family_that_we_do_not_have(opened: Open) -> None:
    house = await opened()
    with pytest.raises(ResolveError, match=r"no IPv6 address in sip\.agent_listen"):
        await house.endpoint.connect("sip:agent@[2001:db8::1]")


async def test_a_flow_over_a_transport_that_we_do_not_have_fails_soon(opened: Open) -> None:
    house = await opened()
    near = await house.endpoint.connect("sip:agent@127.0.0.1")
    flow = house.endpoint._bridge.flow_to(near, "tls", "127.0.0.1", 5061)
    results: list[tuple[Response | None, str]] = []
    house.endpoint.request(
        "OPTIONS", "sip:x", flow, on_result=lambda response, cause: results.append((response, cause))
    )
    assert not results
    await until(lambda: results == [(None, "transport")])


async def test_both_transports_share_a_port_and_a_taken_one_is_named(opened: Open) -> None:
    house = await opened()
    taken = f"127.0.0.1:{house.port}"
    with pytest.raises(PortTakenError, match=rf"^sip\.listen: UDP {taken} is taken by another program$"):
        await opened(listen=[taken])
    await house.endpoint.stop()
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    taken = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(PortTakenError, match=rf"^sip\.agent_listen: TCP {taken} is taken"):
        await opened(agent_listen=[taken])
    server.close()


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("192.0.2.1:5060", r"sip\.listen: UDP 192\.0\.2\.1:5060: this machine does not have that address"),
        ("127.0.0.1", r'sip\.listen: "127\.0\.0\.1" has no port'),
        ("localhost:5060", r'sip\.listen: "localhost:5060": localhost is not an IP address'),
        ("::1:5060", r"write an IPv6 address in brackets"),
        ("127.0.0.1:66000", r"66000 is not a port"),
    ],
)
async def test_an_address_that_cannot_be_listened_on(opened: Open, address: str, fault: str) -> None:
    with pytest.raises(ListenError, match=fault):
        await opened(listen=[address])


async def test_nothing_is_heard_after_stopping(opened: Open) -> None:
    house = await opened()
    with Wire(house) as wire:
        wire.send(wire.request("OPTIONS"))
        port = house.port
        await house.endpoint.stop()
        await house.endpoint.stop()
        wire.send(wire.request("OPTIONS"), port)
        await asyncio.sleep(0.01)
    assert not house.counts.messages


class SecureHouse(House):
    """One whose carriers and agents are reached over TLS as well."""

    def __init__(self, tls: Tls, **options: Any) -> None:
        super().__init__(
            tls_listen=["127.0.0.1:0"],
            agent_tls_listen=["127.0.0.1:0"],
            network=SocketNetwork(tls=tls),
            **options,
        )

    def uri(self, transport: str = "sips") -> str:
        port = self.endpoint.tls_addresses[0][1]
        scheme, parameter = ("sips", "") if transport == "sips" else ("sip", ";transport=tls")
        return f"{scheme}:+14155550100@localhost:{port}{parameter}"


@pytest.mark.parametrize("transport", ["sips", "tls"])
async def test_a_whole_call_over_tls(tmp_path: Path, transport: str) -> None:
    """Each side names its own end: sips stays sips (RFC 3261 §8.1.1.8, §12.1.1), and one connection serves."""
    authority = Authority(tmp_path)
    gateway = SecureHouse(authority.tls("localhost"))
    phone = SecureHouse(authority.tls("phone.example.com"))
    for house in (gateway, phone):
        await house.endpoint.start()
    gateway.on_invite = lambda leg: leg.answer(ANSWER)
    calling = await phone.call(gateway.uri(transport))
    await until(lambda: phone.has(AnswerReceived) and gateway.has(AckReceived))
    (answer,) = [event.response for event in phone.events if isinstance(event, AnswerReceived)]
    scheme = "sips" if transport == "sips" else "sip"
    assert answer.contact is not None
    assert answer.contact.uri.startswith(f"{scheme}:")
    invite = gateway.legs[0].request
    assert invite.via.transport == "TLS"
    assert invite.contact is not None
    assert invite.contact.uri.startswith(f"{scheme}:")
    assert "transport=tls" in invite.contact.uri or scheme == "sips"
    gateway.legs[0].hangup()
    await until(lambda: phone.has(HungUp) and gateway.has(LegEnded))
    assert calling.flow.name == "localhost"
    for house in (phone, gateway):
        await house.endpoint.stop()
        assert not house.errors
    await asyncio.sleep(0.05)


async def test_an_agent_that_cannot_be_trusted_fails_at_once(tmp_path: Path) -> None:
    gateway = SecureHouse(Authority(tmp_path, "impostor").tls("localhost"))
    phone = SecureHouse(Authority(tmp_path).tls("phone.example.com"))
    for house in (gateway, phone):
        await house.endpoint.start()
    await phone.call(gateway.uri())
    await until(lambda: phone.has(FailureReceived))
    (failure,) = [event for event in phone.events if isinstance(event, FailureReceived)]
    assert failure.cause == "transport"
    assert not gateway.legs
    for house in (phone, gateway):
        await house.endpoint.stop()
    await asyncio.sleep(0.05)


async def test_a_sips_uri_without_tls_is_refused(opened: Open) -> None:
    house = await opened()
    with Wire(house) as wire:
        wire.send(wire.request("INVITE").replace(b"INVITE sip:", b"INVITE sips:"))
        refusal = await wire.receive()
    assert isinstance(refusal, Response)
    assert (refusal.status, refusal.reason) == (480, "SIPS Not Allowed")
    assert not house.legs

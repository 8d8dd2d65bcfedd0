"""rtpengine as relay: against the real daemon, and against datagrams for what it does not do by itself."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from gateway.media import rtpengine
from gateway.media.bencode import decode, encode
from gateway.media.quality import stream_mos
from gateway.media.reception import PortStats
from gateway.media.rtp import RtpPacket
from gateway.media.rtpengine import EngineAddress, EngineCall, EngineUnavailable, RtpEngine, RtpEngines
from tests.rtpengine import RtpEngineDaemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtpEngineDaemon]:
    with RtpEngineDaemon(tmp_path_factory.mktemp("rtpengine")) as running:
        yield running


@pytest.fixture
async def engines(daemon: RtpEngineDaemon) -> AsyncIterator[RtpEngines]:
    made = RtpEngines([EngineAddress(*daemon.address)], timeout=2.0)
    yield made
    await made.close()


def sdp(port: int, host: str = "127.0.0.1", direction: str = "sendrecv") -> bytes:
    return (
        f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n"
        f"a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\n"
    ).encode()


NOBODY = sdp(9, "0.0.0.0")


def port_in(description: bytes) -> int:
    found = re.search(rb"m=audio (\d+)", description)
    assert found
    return int(found[1])


class Peer:
    """One end that sends and hears RTP."""

    def __init__(self, ssrc: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]
        self.ssrc = ssrc
        self.sent = 0

    def say(self, port: int, payload_type: int = 0, payload: bytes = b"\x55" * 160) -> None:
        self.sent += 1
        packet = RtpPacket(payload_type, self.sent, self.sent * 160, self.ssrc, payload)
        self.socket.sendto(packet.to_bytes(), ("127.0.0.1", port))

    async def hears(self) -> RtpPacket:
        async with asyncio.timeout(5):
            return RtpPacket.parse(await asyncio.get_running_loop().sock_recv(self.socket, 2048))

    def heard_nothing(self) -> bool:
        try:
            self.socket.recv(2048)
        except BlockingIOError:
            return True
        return False


@pytest.fixture
def peer() -> Iterator[Callable[[int], Peer]]:
    """Makes peers by their source."""
    made: list[Peer] = []

    def make(ssrc: int) -> Peer:
        made.append(Peer(ssrc))
        return made[-1]

    yield make
    for each in made:
        each.socket.close()


async def told(call: EngineCall) -> None:
    """The instance knows the latest."""
    await until(lambda: call._telling is None)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def test_a_call_from_its_ports_to_its_counts(engines: RtpEngines, peer: Callable[[int], Peer]):
    caller, agent = peer(7), peer(8)
    call = await engines.open("call-1", sdp(caller.port), NOBODY)
    to_agent, to_caller = port_in(call.to_agent), port_in(call.to_caller)
    assert call.engine.calls == 1 and len(engines.open_stats()) == 2
    call.follow(sdp(caller.port), sdp(agent.port))
    await told(call)
    for number in range(5):
        caller.say(to_caller)
        agent.say(to_agent)
        assert (await agent.hears()).sequence == number + 1
        heard = await caller.hears()
        assert (heard.ssrc, heard.payload) == (8, b"\x55" * 160)
    caller.say(to_caller, 101, b"\x05\x0a\x00\xa0")  # a key
    assert (await agent.hears()).payload_type == 101
    # A re-INVITE from elsewhere, on hold and back: both ports stay.
    moved = peer(7)
    call.follow(sdp(moved.port, direction="sendonly"), sdp(agent.port, direction="recvonly"))
    await told(call)
    moved.sent = caller.sent
    moved.say(to_caller)
    assert (await agent.hears()).sequence == 7
    call.follow(sdp(moved.port), sdp(agent.port))
    await told(call)
    agent.say(to_agent)
    assert (await moved.hears()).sequence == 6
    assert await call.look()
    assert (call.caller.packets_in, call.agent.packets_in) == (7, 6)
    assert (call.caller.packets_out, call.agent.packets_out) == (6, 7)
    assert not call.caller.measured and stream_mos(call.caller) is None
    call.close()
    call.close()
    assert call.engine.calls == 0 and engines.open_stats() == []
    await until(lambda: not rtpengine._background)
    assert not await call.look()


async def test_nothing_passes_while_it_is_blocked(engines: RtpEngines, peer: Callable[[int], Peer]):
    caller, agent = peer(7), peer(8)
    call = await engines.open("call-2", sdp(caller.port), NOBODY)
    call.follow(sdp(caller.port), sdp(agent.port))
    await told(call)
    call.block(blocked=True)
    await until(lambda: not rtpengine._background)
    caller.say(port_in(call.to_caller))
    await asyncio.sleep(0.05)
    assert agent.heard_nothing()
    call.block(blocked=False)
    await until(lambda: not rtpengine._background)
    caller.say(port_in(call.to_caller))
    assert (await agent.hears()).sequence == 2
    call.close()


async def test_another_process_goes_on_with_a_call(
    daemon: RtpEngineDaemon, engines: RtpEngines, peer: Callable[[int], Peer]
):
    caller, agent = peer(7), peer(8)
    call = await engines.open("call-outlives", sdp(caller.port), NOBODY)
    call.follow(sdp(caller.port), sdp(agent.port))
    await told(call)
    other = RtpEngines([EngineAddress(*daemon.address)], timeout=2.0)
    assert other.taken_up("192.0.2.1:2223", call.id, call.to_agent, call.to_caller) is None
    mine = other.taken_up(daemon.name, call.id, call.to_agent, call.to_caller)
    assert mine is not None and other.engines[0].calls == 1
    moved = peer(8)
    mine.follow(sdp(caller.port), sdp(moved.port))  # a change is told to the same ports
    await told(mine)
    caller.say(port_in(mine.to_caller))
    assert (await moved.hears()).ssrc == 7
    assert await mine.look() and mine.caller.packets_in == 1
    mine.close()
    await until(lambda: not rtpengine._background)
    assert not await call.look()  # it is over for everybody
    call.close()
    await other.close()


async def test_an_agent_that_speaks_before_its_answer_is_heard(
    engines: RtpEngines, peer: Callable[[int], Peer]
):
    """Its early media may come before we have told anybody of its address."""
    caller, agent = peer(7), peer(8)
    call = await engines.open("call-3", sdp(caller.port), NOBODY)
    for _ in range(3):
        agent.say(port_in(call.to_agent))
    call.follow(sdp(caller.port), sdp(agent.port))
    await told(call)
    agent.say(port_in(call.to_agent))
    assert (await caller.hears()).ssrc == 8
    call.close()


async def test_an_offer_that_makes_no_sense_is_the_instances_to_refuse(engines: RtpEngines):
    with pytest.raises(EngineUnavailable):
        await engines.open("call-4", b"nonsense", NOBODY)
    assert engines.engines[0].up and not engines.open_stats()


class Mute(asyncio.DatagramProtocol):
    """Something that listens for ng: answers what `reply` says, or nothing."""

    def __init__(self, reply: Callable[[int, bytes], bytes | None]) -> None:
        self.reply = reply
        self.heard: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, source: object) -> None:
        self.heard.append(data)
        answer = self.reply(len(self.heard), data)
        if answer is not None:
            self.transport.sendto(answer, source)


async def instance(reply: Callable[[int, bytes], bytes | None]) -> tuple[Mute, EngineAddress]:
    loop = asyncio.get_running_loop()
    transport, mute = await loop.create_datagram_endpoint(lambda: Mute(reply), local_addr=("127.0.0.1", 0))
    return mute, EngineAddress(*transport.get_extra_info("sockname"))


def ok(number: int, data: bytes) -> bytes:
    return data.partition(b" ")[0] + b" " + encode({"result": "ok", "sdp": sdp(4000)})


async def test_a_question_is_repeated_and_nonsense_is_no_answer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rtpengine, "REPEATED_AFTER", 0.01)
    answers = {1: None, 2: b"x", 3: b"other d6:result2:oke", 4: b"", 5: b"garbage"}
    mute, address = await instance(
        lambda number, data: (
            data.partition(b" ")[0] + b" " + (b"i1e" if number == 5 else b"le!")
            if number in (5, 6)
            else answers.get(number, ok(number, data))
        )
    )
    engine = RtpEngine(address, timeout=5.0, on_answer=lambda command, result: None)
    await engine.command("query", **{"call-id": "x"})
    assert len(mute.heard) == 7 and len(set(mute.heard)) == 1  # the cookie too
    assert decode(mute.heard[0].partition(b" ")[2]) == {"command": b"query", "call-id": b"x"}
    engine.close()
    mute.transport.close()


async def test_the_next_instance_is_asked_and_the_silent_one_is_down_until_it_answers(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(rtpengine, "PING_SECONDS", 0.02)
    speaks = asyncio.Event()
    silent, first = await instance(lambda number, data: ok(number, data) if speaks.is_set() else None)
    healthy, second = await instance(ok)
    results: list[tuple[str, str]] = []
    engines = RtpEngines(
        [first, second],
        timeout=0.1,
        on_answer=lambda *each: results.append(each),
        chance=lambda: 0.5,  # the order of the configuration
    )
    call = await engines.open("a", sdp(1), NOBODY)
    assert call.engine is engines.engines[1] and not engines.engines[0].up
    assert ("offer", "timeout") in results and ("answer", "ok") in results
    asked = len(silent.heard)
    again = await engines.open("b", sdp(1), NOBODY)
    assert again.engine is engines.engines[1] and len(silent.heard) <= asked + 1  # its delete, at most
    speaks.set()
    engines.start()
    await until(lambda: engines.engines[0].up)
    assert (await engines.open("c", sdp(1), NOBODY)).engine is engines.engines[0]
    await engines.close()
    silent.transport.close()
    healthy.transport.close()


async def test_calls_are_shared_by_weight():
    mutes = [await instance(ok) for _ in range(2)]
    addresses = [
        EngineAddress(each.host, each.port, weight) for (_, each), weight in zip(mutes, (3, 1), strict=True)
    ]
    engines = RtpEngines(addresses, timeout=5.0)
    for number in range(200):
        await engines.open(str(number), sdp(1), NOBODY)
    shares = [engine.calls for engine in engines.engines]
    assert sum(shares) == 200 and 110 < shares[0] < 185
    await engines.close()
    for mute, _ in mutes:
        mute.transport.close()


async def test_none_is_up_and_a_caller_who_leaves_leaves_nothing_there():
    mute, address = await instance(lambda number, data: None)
    engines = RtpEngines([address], timeout=0.05)
    with pytest.raises(EngineUnavailable):
        await engines.open("a", sdp(1), NOBODY)
    with pytest.raises(EngineUnavailable, match="no instance is up"):
        await engines.open("b", sdp(1), NOBODY)
    engines.engines[0].up = True
    opening = asyncio.ensure_future(engines.open("c", sdp(1), NOBODY))
    await until(lambda: any(b"call-id1:c" in each for each in mute.heard))
    opening.cancel()
    await until(lambda: any(b"call-id1:c7:command6:delete12:delete-delayi0e" in each for each in mute.heard))
    await engines.close()
    mute.transport.close()


def test_what_reports_tell_becomes_loss_jitter_and_mos():
    stats = PortStats()
    stats.speaks("PCMU", 8000)
    stats.told(950, loss=0.05, jitter=0.01)
    assert (stats.packets_in, stats.lost) == (950, 50) and stats.jitter == pytest.approx(0.01)
    mos = stream_mos(stats)
    assert mos is not None and 3.5 < mos < 4.2
    stats.told(10, loss=1.0, jitter=0.0)
    assert stats.lost < 10_000


async def test_counts_are_read_as_the_daemon_writes_them():
    stream = {"SSRC": 77, "stats": {"packets": 100}}
    answer = {
        "tags": {"caller": {"medias": [{"streams": [stream]}]}, "agent": {"medias": []}},
        "SSRC": {"77": {"average MOS": {"packet loss": 20, "jitter": 15}}},
    }
    engine = RtpEngine(EngineAddress("h", 1), timeout=1.0, on_answer=lambda command, result: None)
    call = EngineCall(engine, "x", b"", b"", lambda call: None)
    for nonsense in (
        {},
        {"tags": [], "SSRC": 1},
        {"tags": {"caller": {"medias": [1]}}},
        {"tags": {"caller": b""}},
    ):
        call._count(nonsense)
        assert call.caller.packets_in == 0
    call._count(answer)
    assert (call.caller.packets_in, call.caller.lost, call.caller.measured) == (100, 25, True)
    assert call.agent.packets_out == 100 and call.agent.packets_in == 0


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:2223", EngineAddress("127.0.0.1", 2223)),
        ("relay.internal:2223*5", EngineAddress("relay.internal", 2223, 5)),
        ("[::1]:2223", EngineAddress("::1", 2223)),
    ],
)
def test_addresses(text: str, address: EngineAddress):
    assert EngineAddress.parse(text) == address
    assert str(address) == text.partition("*")[0]


@pytest.mark.parametrize("text", ["", "host", ":1", "host:0", "host:70000", "host:1*0", "host:1*x", "host:x"])
def test_addresses_that_are_none(text: str):
    with pytest.raises(ValueError, match=r"write host:port|weight"):
        EngineAddress.parse(text)

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.sip import handshakes, transport_tls
from gateway.sip.flow import Flow
from gateway.sip.tls import Tls
from gateway.sip.transport import SocketNetwork
from gateway.sip.transport_stream import StreamLimits
from gateway.sip.transport_tls import TlsTransport
from tests.certificates import Authority
from tests.sip.recorder import Recorder, until

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])

CHANNEL = 5
MESSAGE = b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n"
ANSWER = b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"
HOST = "127.0.0.1"
NAME = "gateway.example.com"
CARRIER = "carrier.example.com"


class Door(Recorder):
    """A receiver that knows addresses, or names in certificates."""

    def __init__(self) -> None:
        super().__init__()
        self.known = True
        self.names: set[str] = set()

    @property
    def asks_certificates(self) -> bool:
        return bool(self.names)

    def knows(self, host: str) -> bool:
        return self.known

    def admits(self, host: str) -> bool:
        return self.known

    def identify(self, names: Sequence[str]) -> str | None:
        return next((name for name in names if name in self.names), None)


class House:
    """Listeners, and everything that was opened, so that nothing outlives a test."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory)
        self.door = Door()
        self._listeners: list[TlsTransport] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def listen(self, tls: Tls, door: Door | None = None, **limits: Any) -> TlsTransport:
        transport = TlsTransport((HOST, 0), CHANNEL, door or self.door, StreamLimits(**limits), tls)
        await transport.listen()
        self._listeners.append(transport)
        return transport

    async def connect(
        self, port: int, context: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            HOST, port, ssl=context, server_hostname=NAME if context else None
        )
        self._writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        for transport in self._listeners:
            transport.close()
        await asyncio.sleep(0.05)  # the ends of TLS are said


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    await house.close()


async def ended(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(5):
        with suppress(OSError):
            while await reader.read(4096):
                pass


async def test_messages_go_both_ways_and_pings_are_answered(house: House) -> None:
    transport = await house.listen(house.authority.tls(NAME))
    house.door.on_message = lambda data, flow: transport.send(flow, ANSWER)
    reader, writer = await house.connect(transport.address[1], house.authority.trusting())
    writer.write(MESSAGE + b"\r\n\r\n")
    async with asyncio.timeout(5):
        assert await reader.readexactly(len(ANSWER) + 2) == ANSWER + b"\r\n"
    ((data, flow),) = house.door.messages
    assert data == MESSAGE
    assert (flow.transport, flow.host, flow.name) == ("tls", HOST, "")
    assert transport.is_open(flow)


async def test_it_listens_on_a_socket_that_was_there_before(house: House) -> None:
    with socket.create_server((HOST, 0)) as held:
        tls, address = house.authority.tls(NAME), held.getsockname()
        for _ in range(2):
            door = Door()
            network = SocketNetwork(tls=tls, held={("tcp", address): held.dup()})
            transport = await network.open("tls", address, CHANNEL, door)
            _, writer = await house.connect(address[1], house.authority.trusting())
            writer.write(MESSAGE)
            await until(lambda door=door: len(door.messages) == 1)  # type: ignore[misc]
            transport.close()


async def test_two_listeners_speak_over_one_connection(house: House) -> None:
    there_door, here_door = Door(), Door()
    there = await house.listen(house.authority.tls(NAME), there_door)
    here = await house.listen(house.authority.tls("other.example.com"), here_door)
    there_door.on_message = lambda data, flow: there.send(flow, ANSWER)
    flow = Flow("tls", HOST, there.address[1], CHANNEL, NAME)
    for _ in range(2):
        here.send(flow, MESSAGE)
    await until(lambda: len(here_door.messages) == 2)
    assert {flow.name for _, flow in here_door.messages} == {NAME}
    assert len({flow for _, flow in there_door.messages}) == 1


@pytest.mark.parametrize(
    ("name", "says"), [("elsewhere.example.com", "mismatch"), ("", "IP address mismatch")]
)
async def test_a_server_must_prove_the_name_that_was_asked_for(house: House, name: str, says: str) -> None:
    there = await house.listen(house.authority.tls(NAME))
    told: list[tuple[str, str]] = []
    tls = house.authority.tls("other.example.com")
    tls.on_failure = lambda peer, reason: told.append((peer, reason))
    door = Door()
    here = await house.listen(tls, door)
    here.send(Flow("tls", HOST, there.address[1], CHANNEL, name), MESSAGE)
    await until(lambda: bool(door.failures))
    assert says in door.failures[0][1]
    assert told[0][0] == (name or HOST)
    assert says in told[0][1]
    assert not house.door.messages


async def test_a_server_of_another_authority_is_not_believed(house: House, tmp_path: Path) -> None:
    other = Authority(tmp_path, "impostor")
    there = await house.listen(other.tls(NAME))
    door = Door()
    here = await house.listen(house.authority.tls("other.example.com"), door)
    here.send(Flow("tls", HOST, there.address[1], CHANNEL, NAME), MESSAGE)
    await until(lambda: bool(door.failures))
    assert "not trusted" in door.failures[0][1]


async def test_strangers_cost_no_handshake(house: House) -> None:
    house.door.known = False
    transport = await house.listen(house.authority.tls(NAME))
    with pytest.raises(OSError):
        await house.connect(transport.address[1], house.authority.trusting())
    assert house.door.drops == {"unknown_source": 1}


async def test_a_stranger_is_known_by_its_certificate(house: House) -> None:
    house.door.known = False
    house.door.names = {CARRIER}
    transport = await house.listen(house.authority.tls(NAME, ask=True))
    context = house.authority.trusting()
    context.load_cert_chain(house.authority.issue(CARRIER))
    _, writer = await house.connect(transport.address[1], context)
    writer.write(MESSAGE)
    await until(lambda: bool(house.door.messages))
    assert house.door.messages[0][1].name == CARRIER


@pytest.mark.parametrize("certificate", [None, "somebody.example.com", "self-signed"])
async def test_any_other_stranger_is_cut_off(house: House, tmp_path: Path, certificate: str | None) -> None:
    house.door.known = False
    house.door.names = {CARRIER}
    transport = await house.listen(house.authority.tls(NAME, ask=True))
    context = house.authority.trusting()
    if certificate == "self-signed":
        context.load_cert_chain(Authority(tmp_path, "impostor").issue(CARRIER))
    elif certificate:
        context.load_cert_chain(house.authority.issue(certificate))
    with suppress(OSError):
        reader, writer = await house.connect(transport.address[1], context)
        writer.write(MESSAGE)
        await ended(reader)
    assert not house.door.messages


async def test_slow_handshakes_are_few_and_short(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "MAX_HANDSHAKES_A_SOURCE", 3)
    transport = await house.listen(house.authority.tls(NAME), handshake=0.3)
    readers = [(await house.connect(transport.address[1], None))[0] for _ in range(4)]
    await until(lambda: house.door.drops["handshake_limit"] == 1)
    for reader in readers:
        await ended(reader)
    await until(lambda: house.door.drops["tls_handshake"] == 3)
    _, writer = await house.connect(transport.address[1], house.authority.trusting())  # room again
    writer.write(MESSAGE)
    await until(lambda: bool(house.door.messages))


async def test_old_versions_and_other_protocols_are_told_apart(house: House) -> None:
    transport = await house.listen(house.authority.tls(NAME))
    reader, writer = await house.connect(transport.address[1], None)
    writer.write(b"OPTIONS sip:x SIP/2.0\r\n\r\n")
    await ended(reader)
    await until(lambda: house.door.drops["tls_handshake"] == 1)


async def test_new_contexts_count_for_new_connections(house: House) -> None:
    tls = house.authority.tls(NAME)
    transport = await house.listen(tls)
    _, before = await house.connect(transport.address[1], house.authority.trusting())
    tls.server = house.authority.tls(NAME, "second.example.com").server
    _, after = await house.connect(transport.address[1], house.authority.trusting())
    names = [
        {value for _, value in writer.get_extra_info("peercert")["subjectAltName"]}
        for writer in (before, after)
    ]
    assert names == [{NAME}, {NAME, "second.example.com"}]
    before.write(MESSAGE)
    after.write(MESSAGE)
    await until(lambda: len(house.door.messages) == 2)


async def test_without_a_certificate_nobody_is_heard(house: House) -> None:
    transport = await house.listen(Tls(house.authority.trusting()))
    with pytest.raises(OSError):
        await house.connect(transport.address[1], None)


async def test_a_connection_that_was_closed_is_opened_again(house: House) -> None:
    there_door, here_door = Door(), Door()
    there = await house.listen(house.authority.tls(NAME), there_door)
    here = await house.listen(house.authority.tls("other.example.com"), here_door)
    flow = Flow("tls", HOST, there.address[1], CHANNEL, NAME)
    here.send(flow, MESSAGE)
    await until(lambda: len(there_door.messages) == 1)
    there.close()
    await until(lambda: bool(here_door.failures))
    again = TlsTransport(there.address, CHANNEL, there_door, StreamLimits(), house.authority.tls(NAME))
    await again.listen()
    house._listeners.append(again)
    here.send(flow, MESSAGE)
    await until(lambda: len(there_door.messages) == 2)


async def test_out_of_descriptors_it_waits(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can order that up without starving the test itself."""
    monkeypatch.setattr(transport_tls, "ACCEPT_PAUSE", 0.01)
    transport = await house.listen(house.authority.tls(NAME))
    port, failures = transport._port, [OSError(24, "Too many open files")]

    class Starved:
        def accept(self) -> Any:
            if failures:
                raise failures.pop()
            return port.accept()  # type: ignore[union-attr]

        def __getattr__(self, name: str) -> Any:
            return getattr(port, name)

    transport._port = Starved()  # type: ignore[assignment]
    _, writer = await house.connect(transport.address[1], house.authority.trusting())
    writer.write(MESSAGE)
    await until(lambda: bool(house.door.messages))
    assert not failures

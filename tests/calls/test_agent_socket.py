"""An agent's WebSocket on real sockets: aiohttp's server as the agent, and bare TCP for what no server does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from gateway.destinations import agent_socket
from gateway.destinations.agent_socket import TURN, AgentSocket, HttpAgentWeb

Agent = Callable[[web.WebSocketResponse], Awaitable[None]]


class Ear:
    """What is heard on our end."""

    def __init__(self, socket: AgentSocket) -> None:
        self.messages: list[tuple[bytes, bool]] = []
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        socket.listen(lambda payload, text: self.messages.append((payload, text)), self.ended.set_result)


@asynccontextmanager
async def talking_to(agent: Agent) -> AsyncIterator[AgentSocket]:
    async def answer(request: web.Request) -> web.WebSocketResponse:
        call = web.WebSocketResponse()
        await call.prepare(request)
        await agent(call)
        return call

    app = web.Application()
    app.router.add_get("/ws", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ours = HttpAgentWeb(aiohttp.ClientSession())
    try:
        url = f"ws://127.0.0.1:{runner.addresses[0][1]}/ws"
        socket = await ours.open_socket(url, {"X-Token": "secret"})
        yield socket
        await socket.close()
        connector = ours.session.connector
        assert connector is not None and not connector._acquired
    finally:
        await ours.close()
        await runner.cleanup()


@asynccontextmanager
async def bare(
    after: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that shakes hands and then does as it is told."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        key = request.lower().split(b"sec-websocket-key: ")[1].split(b"\r\n")[0]
        key = request[request.lower().index(key) : request.lower().index(key) + len(key)]
        accept = agent_socket.base64.b64encode(agent_socket.hashlib.sha1(key + agent_socket._GUID).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        try:
            await after(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


async def test_messages_pass_both_ways_and_a_goodbye_is_heard():
    async def agent(call: web.WebSocketResponse) -> None:
        await call.send_str("at once")
        async for message in call:
            await call.send_str(message.data.upper())
            await call.send_bytes(b"\x00")
            break
        await call.close(code=1000)

    async with talking_to(agent) as socket:
        ear = Ear(socket)
        assert socket.send("hé".encode())
        assert await ear.ended == 1000
        assert ear.messages == [(b"at once", True), ("HÉ".encode(), True), (b"\x00", False)]
        assert not socket.send(b"too late")


async def test_our_goodbye_is_a_close_of_1000():
    codes: list[int | None] = []

    async def agent(call: web.WebSocketResponse) -> None:
        async for _ in call:
            pass
        codes.append(call.close_code)

    async with talking_to(agent) as socket:
        Ear(socket)
        await socket.close()
        await socket.close()
    assert codes == [1000]


@pytest.mark.parametrize("closing", [False, True])
async def test_a_connection_that_ends_without_a_goodbye_is_broken(closing: bool):
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not closing:
            writer.transport.abort()

    async with bare(leave) as url:
        ours = HttpAgentWeb(aiohttp.ClientSession())
        ear = Ear(await ours.open_socket(url, {}))
        assert await ear.ended is None
        await ours.close()


async def test_who_breaks_the_protocol_is_told_so():
    told = asyncio.get_running_loop().create_future()

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\xff\xff\xff")
        told.set_result(await reader.read(100))

    async with bare(babble) as url:
        ours = HttpAgentWeb(aiohttp.ClientSession())
        ear = Ear(await ours.open_socket(url, {}))
        assert await ear.ended is None
        frame = await told
        assert frame[0] == 0x88 and frame[1] == 0x82
        assert bytes(each ^ key for each, key in zip(frame[6:8], frame[2:4], strict=True)) == b"\x03\xea"
        await ours.close()


async def test_a_flood_gives_way_to_others_and_loses_nothing():
    count = 40 * TURN

    async def agent(call: web.WebSocketResponse) -> None:
        for number in range(count):
            await call.send_str(str(number))
        async for _ in call:
            pass

    async with talking_to(agent) as socket:
        ear = Ear(socket)
        most = seen = 0
        while len(ear.messages) < count:
            await asyncio.sleep(0)
            most, seen = max(most, len(ear.messages) - seen), len(ear.messages)
        assert [int(payload) for payload, _ in ear.messages] == list(range(count))
        assert most <= 4 * TURN


async def test_who_does_not_read_is_sent_nothing_more_and_holds_up_no_goodbye(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(agent_socket, "CLOSE_SECONDS", 0.05)
    done = asyncio.Event()

    async def sleep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()

    async with bare(sleep) as url:
        ours = HttpAgentWeb(aiohttp.ClientSession())
        socket = await ours.open_socket(url, {})
        Ear(socket)
        sent = 0
        while socket.send(bytes(10_000)):
            sent += 1
            await asyncio.sleep(0)
            assert sent < 10_000
        await socket.close()
        done.set()
        await ours.close()


async def test_a_silent_agent_is_pinged_and_one_that_does_not_answer_is_gone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(agent_socket, "HEARTBEAT_SECONDS", 0.05)
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            heard.extend(data)

    async def answer(call: web.WebSocketResponse) -> None:
        async for _ in call:  # aiohttp answers pings
            pass

    async with talking_to(answer) as socket:
        ear = Ear(socket)
        await asyncio.sleep(0.4)
        assert not ear.ended.done()
    async with bare(listen) as url:
        ours = HttpAgentWeb(aiohttp.ClientSession())
        ear = Ear(await ours.open_socket(url, {}))
        assert await ear.ended is None
        assert heard[0] == 0x89
        await ours.close()


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_a_refusal_has_its_status(status: int):
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ours = HttpAgentWeb(aiohttp.ClientSession())
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await ours.open_socket(f"ws://127.0.0.1:{runner.addresses[0][1]}/", {})
    assert refused.value.status == status
    connector = ours.session.connector
    assert connector is not None and not connector._acquired
    await ours.close()
    await runner.cleanup()

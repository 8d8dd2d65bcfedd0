"""What a worker answers its office, over a unix socket that nobody else reaches (`gateway.workers.slots`)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web
from msgspec import Struct

from gateway.console_desk import live_rows
from gateway.workers.totals import families
from routing.call_records import CallShown

if TYPE_CHECKING:
    from gateway.app import Gateway

MAX_ASKED: Final = 4 * 1024 * 1024
"""Bytes of what the office sends: a call with all of its moments, to trace it by."""

SHUTDOWN_SECONDS: Final = 1.0


class Closed(Struct, frozen=True):
    """An endpoint that a worker would not try now, and why."""

    agent_id: str
    url: str
    obstacle: str


class State(Struct, frozen=True, kw_only=True):
    """How a worker does.

    obstacles: why it takes no calls; none while it does.
    calls: that go on; retired: it takes none because another version does.
    agents: calls at each agent.
    closed: endpoints that are left alone.
    """

    slot: int
    pid: int
    obstacles: list[str]
    draining: bool
    retired: bool
    calls: int
    agents: dict[str, int]
    closed: list[Closed]


class Successors(Struct, frozen=True):
    """Who shares new calls from now on."""

    slots: list[int]


def make_worker_app(
    gateway: Gateway,
    *,
    slot: int,
    begin: Callable[[], None],
    retire: Callable[[Sequence[int]], Awaitable[None]],
    retired: Callable[[], bool],
) -> web.Application:
    """The application; begin: those before us have retired; retire: see `Successors`."""
    app = web.Application(client_max_size=MAX_ASKED)
    node = gateway.node

    async def state(_request: web.Request) -> web.Response:
        status = gateway.health.snapshot()
        agents: dict[str, int] = {}
        for each in status:
            if each.calls:
                agents[each.agent_id] = agents.get(each.agent_id, 0) + each.calls
        return _packed(
            State(
                slot=slot,
                pid=os.getpid(),
                obstacles=gateway.obstacles(),
                draining=node.draining,
                retired=retired(),
                calls=len(gateway.registry),
                agents=agents,
                closed=[Closed(each.agent_id, each.url, each.reason) for each in status if not each.up],
            )
        )

    async def samples(_request: web.Request) -> web.Response:
        gateway.refresh()
        return _packed(families(gateway.metrics.registry))

    async def calls(_request: web.Request) -> web.Response:
        return _packed(await node.live())

    async def call(request: web.Request) -> web.Response:
        found = await node.find(request.match_info["call_id"])
        return web.Response(status=404) if found is None else _packed(found)

    async def hang_up(request: web.Request) -> web.Response:
        return web.Response(status=204 if await node.hang_up(request.match_info["call_id"]) else 404)

    async def rows(_request: web.Request) -> web.Response:
        return _packed(await live_rows(gateway.registry, gateway.settings.logs.mask_personal_data))

    async def away(_request: web.Request) -> web.Response:
        return _packed(gateway.door.lately())

    async def drain(request: web.Request) -> web.Response:
        await node.drain(request.method == "POST")
        return web.Response(status=204)

    async def reload(_request: web.Request) -> web.Response:
        await gateway.reload()
        return web.Response(status=204)

    async def begin_now(_request: web.Request) -> web.Response:
        begin()
        return web.Response(status=204)

    async def retire_now(request: web.Request) -> web.Response:
        await retire(msgspec.msgpack.decode(await request.read(), type=Successors).slots)
        return web.Response(status=204)

    def traced(
        trace: Callable[[CallShown], Awaitable[Any]],
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            asked = msgspec.msgpack.decode(await request.read(), type=CallShown)
            try:
                return _packed(await trace(asked))
            except OSError as error:
                return web.Response(status=503, text=error.strerror or str(error))

        return answer

    app.router.add_get("/state", state)
    app.router.add_get("/samples", samples)
    app.router.add_get("/calls", calls)
    app.router.add_get("/calls/{call_id}", call)
    app.router.add_delete("/calls/{call_id}", hang_up)
    app.router.add_get("/rows", rows)
    app.router.add_get("/away", away)
    app.router.add_post("/drain", drain)
    app.router.add_delete("/drain", drain)
    app.router.add_post("/reload", reload)
    app.router.add_post("/begin", begin_now)
    app.router.add_post("/retire", retire_now)
    app.router.add_post("/trace", traced(node.trace))
    app.router.add_post("/trace.txt", traced(node.trace_text))
    app.router.add_post("/trace.pcap", traced(node.trace_capture))
    return app


class PrivateServer:
    """Serves an application on a unix socket; attributes: address: its path, as a `WebServer` has it."""

    def __init__(self, app: web.Application, path: Path) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        self._path = path
        self.address = str(path), 0

    async def start(self) -> None:
        """Listen. Raises OSError."""
        await asyncio.to_thread(self._path.unlink, missing_ok=True)  # of who had the slot before
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._path)).start()

    async def stop(self) -> None:
        """Close."""
        await self._runner.cleanup()


def _packed(value: object) -> web.Response:
    return web.Response(body=msgspec.msgpack.encode(value), content_type="application/msgpack")

"""What an office answers its workers, and the office that comes after it, over a unix socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
from aiohttp import web
from msgspec import Struct

from gateway.worker_web import Successors
from routing.call_records import CallShown

MAX_TOLD: Final = 16 * 1024 * 1024
"""Bytes of a batch of calls that are over."""


class Hello(Struct, frozen=True):
    """An office that is there.

    pid: its process; version: of the program; slots: of its workers.
    """

    pid: int
    version: str
    slots: list[int]


def make_office_app(
    hello: Hello,
    *,
    give_way: Callable[[Sequence[int]], Awaitable[None]],
    ended: Callable[[CallShown], None] | None,
) -> web.Application:
    """The application.

    give_way: let those slots have new calls, and everything that only one office can have; done when it
        returns.
    ended: takes calls that are over; None where they go another way.
    """
    app = web.Application(client_max_size=MAX_TOLD)

    async def greet(_request: web.Request) -> web.Response:
        return web.Response(body=msgspec.msgpack.encode(hello), content_type="application/msgpack")

    async def way(request: web.Request) -> web.Response:
        await give_way(msgspec.msgpack.decode(await request.read(), type=Successors).slots)
        return web.Response(status=204)

    async def take(request: web.Request) -> web.Response:
        calls = msgspec.msgpack.decode(await request.read(), type=list[CallShown])
        if ended is not None:
            for call in calls:
                ended(call)
        return web.Response(status=204)

    app.router.add_get("/hello", greet)
    app.router.add_post("/way", way)
    app.router.add_post("/ended", take)
    return app

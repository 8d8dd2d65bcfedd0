"""The routes as a gateway with this configuration has them, for commands that run beside it."""

from __future__ import annotations

import asyncio
import contextlib

from gateway.cli.errors import UsageError
from gateway.config import Settings
from gateway.redis_access import redis_place
from routing import snapshot
from routing.cache import Change, RoutingCache, encode
from routing.follower import FAILURES
from routing.numbers_file import NumbersFileError, load
from routing.redis_clients import BACKGROUND_TIMEOUT, connect
from routing.view import RouteView


async def find_routes(settings: Settings) -> tuple[RouteView, str]:
    """The routes, and where they come from: Redis, else the snapshot, else the numbers file.

    Raises:
        UsageError: none of these has any.

    """
    client = connect(redis_place(settings), BACKGROUND_TIMEOUT)
    try:
        view = await _from_redis(RoutingCache(client))
        if view is not None:
            return view, "Redis"
    except FAILURES:
        pass
    finally:
        with contextlib.suppress(*FAILURES):
            await client.aclose()
    with contextlib.suppress(snapshot.SnapshotError, OSError):
        saved = await asyncio.to_thread(snapshot.load, settings.data.dir / "routes.snapshot")
        if saved is not None:
            return saved, "the last snapshot on disk"
    if settings.routing.numbers_file is None:
        raise UsageError("no routes yet: Redis has none, and there is no snapshot of earlier ones")
    try:
        routes = await asyncio.to_thread(load, settings.routing.numbers_file)
    except NumbersFileError as error:
        raise UsageError(str(error)) from None
    view = RouteView()
    for agent in routes.agents:
        view.apply(Change("agent", agent.id, encode(agent)))
    for number in routes.numbers:
        view.apply(Change("number", number.phone_number, encode(number)))
    return view, str(settings.routing.numbers_file)


async def _from_redis(cache: RoutingCache) -> RouteView | None:
    state = await cache.state()
    if state.epoch is None:
        return None
    view = RouteView(state.epoch, state.revision)
    async for page in cache.scan("agent"):
        for key, value in page.items():
            view.apply(Change("agent", key.decode(), value))
    async for page in cache.scan("number"):
        for key, value in page.items():
            view.apply(Change("number", key.decode(), value))
    return view

"""`voice-gateway explain`: what would happen to a call, and why, before it happens."""

from __future__ import annotations

import asyncio
import contextlib
import time
from ipaddress import ip_address
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from gateway.admission.carriers import CarriersError, CarrierTable
from gateway.admission.carriers_file import load_carriers
from gateway.admission.limits import AdmissionLimits
from gateway.calls.explain import Step, explain
from gateway.cli.errors import UsageError
from gateway.config import Settings
from routing import snapshot
from routing.cache import Change, RoutingCache, encode
from routing.follower import FAILURES
from routing.health import EndpointHealth
from routing.numbers_file import NumbersFileError, load
from routing.redis_clients import BACKGROUND_TIMEOUT, connect
from routing.redis_server import socket_url
from routing.view import RouteView


def run(settings: Settings, number: str, source: str) -> int:
    """Print the decisions; 0 if the call would be answered by an agent or voicemail, 1 if not.

    Raises:
        UsageError: `source` is no IP address, or there are no routes to be found.

    """
    try:
        ip_address(source)
    except ValueError:
        raise UsageError(f"--from {source}: not an IP address") from None
    try:
        carriers = load_carriers([Path(name) for name in settings.admission.carriers_files])
    except CarriersError as error:
        raise UsageError(str(error)) from None
    return asyncio.run(_run(settings, carriers, number, source))


async def _run(settings: Settings, carriers: CarrierTable, number: str, source: str) -> int:
    console = Console(highlight=False, soft_wrap=True)
    view, origin = await _routes(settings)
    steps = explain(
        number,
        source,
        carriers=carriers,
        limits=AdmissionLimits(settings.admission.max_active_calls, routes_loaded=True),
        active_calls=0,
        numbers=_Numbers(view),
        agents=view,
        health=EndpointHealth(time.monotonic),
        default_voicemail=settings.voicemail.default_message,
        endpoint_template=settings.agents.endpoint_template,
    )
    console.print(f"[dim]routes from {escape(origin)}; endpoints are taken to be up[/dim]")
    for step in steps:
        console.print(_line(step))
    return 0 if steps[-1].passed else 1


class _Numbers:
    """A view as `explain` asks it."""

    def __init__(self, view: RouteView) -> None:
        self.get = view.number


def _line(step: Step) -> str:
    mark = "[green]✓[/green]" if step.passed else "[red]✗[/red]"
    return f"{mark} {step.name:<10} {escape(step.text)}"


async def _routes(settings: Settings) -> tuple[RouteView, str]:
    """The routes as a running gateway has them: from Redis, else its snapshot, else the numbers file."""
    url = settings.redis.url.get_secret_value() or socket_url(settings.data.dir)
    client = connect(url, BACKGROUND_TIMEOUT)
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
        raise UsageError("no routes: Redis has none, there is no snapshot, and routing.numbers_file is empty")
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

"""The HTTP side: `/metrics`, `/healthz`, `/readyz`."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry

from gateway.build import BUILD
from gateway.web.scrape import scrape_handler

MAX_REQUEST_BYTES: Final = 64 * 1024
"""Nothing here takes a body; what a confused client sends is cut short."""

SHUTDOWN_SECONDS: Final = 2.0


class PortTaken(Exception):  # noqa: N818 - it names what is wrong outside of us
    """The address cannot be listened on; the message names it and the configuration key."""


def make_app(
    registry: CollectorRegistry,
    obstacles: Callable[[], Sequence[str]],
    refresh: Callable[[], Awaitable[None] | None],
) -> web.Application:
    """The application.

    obstacles: why no calls are taken now; none means ready.
    refresh: brings gauges up to date before a scrape; may take a moment, if it is awaitable.
    """
    app = web.Application(client_max_size=MAX_REQUEST_BYTES)
    scrape = scrape_handler(registry)

    async def metrics(request: web.Request) -> web.StreamResponse:
        refreshed = refresh()
        if refreshed is not None:
            await refreshed
        return await scrape(request)

    async def healthz(_request: web.Request) -> web.Response:
        return _json({"status": "alive", "version": BUILD.version, "build": BUILD.kind}, 200)

    async def readyz(_request: web.Request) -> web.Response:
        reasons = list(obstacles())
        if reasons:
            return _json({"status": "not ready", "reasons": reasons}, 503)
        return _json({"status": "ready"}, 200)

    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


class WebServer:
    """Serves an application on one address; held: by a socket that listens there already."""

    def __init__(
        self, app: web.Application, host: str, port: int, *, held: socket.socket | None = None
    ) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        self._host = host
        self._port = port
        self._held = held

    async def start(self) -> None:
        """Listen.

        Raises:
            PortTaken: the address is in use or not ours.

        """
        await self._runner.setup()
        site: web.BaseSite = (
            web.TCPSite(self._runner, self._host, self._port)
            if self._held is None
            else web.SockSite(self._runner, self._held)
        )
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            fault = error.strerror or str(error)
            raise PortTaken(f"web.listen: cannot listen on {self._host}:{self._port}: {fault}") from None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; tells the port when the configured one was 0."""
        host, port = self._runner.addresses[0][:2]
        return host, port

    async def stop(self) -> None:
        """Close, letting responses in progress finish for a moment."""
        await self._runner.cleanup()


def _json(body: dict[str, object], status: int) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")

"""`voice-gateway api`: the phone-number API in a process of its own, so that no load on it delays a call."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable

import structlog

from gateway.api_service import PUBLISHING_FAILURES, ApiService, ApiStartError, make_service
from gateway.composition.addresses import web_address
from gateway.config import Settings
from gateway.faults import StartError
from gateway.redis_access import redis_place
from gateway.web.server import PortTaken, WebServer, make_app
from routing.nodes import NodeRegistry
from routing.redis_clients import BACKGROUND_TIMEOUT, connect

log = structlog.get_logger("api")

DRAIN_SECONDS = 5.0
"""For changes that are committed to be in Redis; if they are not, the next process brings them there."""


async def serve_api(
    settings: Settings,
    listen: str,
    on_ready: Callable[[ApiService, tuple[str, int]], None] = lambda service, address: None,
) -> None:
    """Run until SIGTERM or SIGINT.

    listen: address and port.

    Raises:
        StartError: something that is needed is missing, taken or wrong.

    """
    if settings.routing.numbers_file is not None:
        raise StartError(
            "routing.numbers_file: the routes come from that file: remove the key to serve the API"
        )
    if settings.api.remote_url:
        raise StartError("api.remote_url: the routes come from that API: remove the key to serve one here")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    host, port = web_address(listen)
    async with contextlib.AsyncExitStack() as exit_stack:
        # Without a Redis of its own it is the gateway's private one, on the same machine.
        redis = connect(redis_place(settings), BACKGROUND_TIMEOUT)
        exit_stack.push_async_callback(redis.aclose)
        service = make_service(settings, nodes=NodeRegistry(redis))
        try:
            await service.open()
        except ApiStartError as error:
            raise StartError(str(error)) from error
        exit_stack.push_async_callback(service.close)
        publisher = service.publisher(redis)
        work = asyncio.create_task(service.run(publisher, service.intake(redis)))

        async def end() -> None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

        exit_stack.push_async_callback(end)
        app = make_app(service.metrics.registry, list, lambda: None)
        await service.install(app)
        server = WebServer(app, host, port)
        try:
            await server.start()
        except PortTaken as error:
            raise StartError(str(error)) from error
        exit_stack.push_async_callback(server.stop)
        on_ready(service, server.address)
        log.info("ready", web=server.address)
        await stop.wait()
        log.info("stopping")
        await server.stop()
        with contextlib.suppress(*PUBLISHING_FAILURES):
            async with asyncio.timeout(DRAIN_SECONDS):
                await publisher.publish()

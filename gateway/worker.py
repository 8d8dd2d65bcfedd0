"""What a worker does from its fork to its end: a gateway that shares its ports, led by an office."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

import structlog
import uvloop

from gateway.app import Gateway
from gateway.config import Settings
from gateway.faults import StartError
from gateway.passed_sockets import Held
from gateway.telemetry import logs
from gateway.worker_seat import Seat, decode_order, seat, settings_of
from gateway.workers.nursery import Work

ORPHAN_SECONDS: Final = 30.0
"""That a worker whose office was killed goes on as before: a new office may come, and take its calls over."""

log = structlog.get_logger("worker")


def make_work(settings: Settings, held: Held | None = None) -> Work:
    """What each worker does; settings, held: the gateway's, which it has from before the fork."""

    def work(words: bytes, lifeline: int) -> int:
        order = decode_order(words)
        own = settings_of(settings, order)
        place = seat(own, order, tls=own.sip.tls_certificate is not None)
        writer = logs.configure(own.logs.level, own.logs.format, mask=own.logs.mask_personal_data)
        structlog.contextvars.bind_contextvars(worker=order.slot)
        try:
            uvloop.run(_serve(own, place, held, lifeline))
        except StartError as error:
            sys.stderr.write(f"voice-gateway: worker {order.slot}: {error}\n")
            return 1
        finally:
            writer.close()
        return 0

    return work


async def _serve(settings: Settings, place: Seat, held: Held | None, lifeline: int) -> None:
    """Run until SIGTERM, until another version has new calls, or until the office is gone for long."""
    loop = asyncio.get_running_loop()
    gateway = Gateway(settings, place, held)
    stop, told, at_once = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def asked() -> None:
        if told.is_set():  # the second signal: that another version has new calls is none
            at_once.set()
        told.set()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    os.set_blocking(lifeline, False)
    loop.add_reader(lifeline, _orphaned, loop, lifeline, stop)
    gateway.on_retired = stop.set
    await gateway.start()
    log.info("ready", sip=gateway.sip.carrier_addresses, tls=gateway.sip.tls_addresses, pid=os.getpid())
    await stop.wait()
    log.info("draining", calls=len(gateway.registry), retired=gateway.retired)
    drain = asyncio.create_task(gateway.stop())
    hurry = asyncio.create_task(at_once.wait())
    await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not drain.done():
        drain.cancel()
        await asyncio.gather(drain, return_exceptions=True)
        log.warning("stopped at once", calls=len(gateway.registry))
        await gateway.abort()
    else:
        await drain
    loop.remove_reader(lifeline)


def _orphaned(loop: asyncio.AbstractEventLoop, lifeline: int, stop: asyncio.Event) -> None:
    """The nursery is gone, and the office with it: nobody starts us again, or asks us anything."""
    loop.remove_reader(lifeline)
    log.error("the office is gone", seconds_left=ORPHAN_SECONDS)
    _later(loop, stop.set)


def _later(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    loop.call_later(ORPHAN_SECONDS, work)

"""Composes rtpengine as the relay of calls, where the configuration asks for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import structlog

from gateway.config import Media
from gateway.media.reception import PortStats
from gateway.media.rtpengine import EngineAddress, RtpEngines
from gateway.telemetry.metrics import Metrics

log = structlog.get_logger("media")


def media_engine(
    settings: Media, metrics: Metrics, on_stream: Callable[[PortStats], None]
) -> RtpEngines | None:
    """The instances that are configured, with their metrics; None where our own ports relay.

    on_stream: see `RtpEngines`.
    """
    if settings.engine == "own":
        return None
    engines = RtpEngines(
        [EngineAddress.parse(each) for each in settings.rtpengine],
        timeout=settings.rtpengine_timeout,
        on_answer=lambda command, result: metrics.rtpengine_commands.labels(command, result).inc(),
        on_stream=on_stream,
    )
    for engine in engines.engines:
        name = str(engine.address)
        metrics.rtpengine_up.labels(name).set_function(partial(getattr, engine, "up"))
        metrics.rtpengine_calls.labels(name).set_function(partial(getattr, engine, "calls"))
    return engines


def own_relay_noted(metrics: Metrics) -> Callable[[str], None]:
    """What is told of each call that no instance takes: a count, and a line in the log."""

    def note(reason: str) -> None:
        metrics.rtpengine_fallbacks.inc()
        log.warning("no rtpengine takes a call, it is relayed here", reason=reason)

    return note

"""Who looks on at calls: a collector of traces, Homer, and our own record of the wire."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import structlog

from gateway.composition.background import Background
from gateway.config import Settings, Tracing
from gateway.faults import StartError
from gateway.media.dual_stack_ports import DualStackPorts
from gateway.sip.bridge import Witness
from gateway.sip.flow import Flow
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.span_exporter import SpanExporter
from gateway.telemetry.spans import Tracer
from gateway.traces.hep_sender import HepSender, Witnesses
from gateway.traces.log import TraceLog
from gateway.traces.of_call import CallTraces
from gateway.traces.rtp_heads import RtpHeads
from gateway.traces.segments import Segments
from gateway.traces.writer import TraceWriter

LOOKUP_SECONDS: Final = 5.0
"""For a name in the configuration to be resolved."""

LocalAddress = Callable[[Flow], tuple[str, int]]
"""Our address as the peer of a flow sees it."""

log = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Wire:
    """Who sees what goes over the wire.

    witness: of every SIP message, if anybody.
    traces: what is kept of it, by call, if anything.
    heads: takes the heads of RTP packets at the media ports, if they are kept.
    """

    witness: Witness | None
    traces: CallTraces | None
    heads: RtpHeads | None


def start_tracer(
    settings: Tracing, node_name: str, metrics: Metrics, background: Background
) -> Tracer | None:
    """What makes a trace of each call, if a collector is named."""
    if not settings.otlp_endpoint:
        return None
    authorization = settings.otlp_authorization.get_secret_value()
    exporter = SpanExporter(
        settings.otlp_endpoint,
        {"Authorization": authorization} if authorization else {},
        {
            "service.name": "voice-gateway",
            "service.version": version("voice-gateway"),
            "service.instance.id": node_name,
        },
        count=lambda result, calls: metrics.spans.labels(result).inc(calls),
        on_error=lambda text: log.error("traces not exported", detail=text, key="tracing.otlp_endpoint"),
    )
    background.run(exporter.run, "span-exporter")
    return Tracer(exporter.put, settings.share, clock=time.monotonic, wall_clock=time.time)


def on_trying(metrics: Metrics, tracer: Tracer | None) -> Callable[[float], None]:
    """Who is told how long each INVITE waited for its 100."""
    counted = partial(metrics.stage, "trying")
    if tracer is None:
        return counted

    def told(seconds: float) -> None:
        counted(seconds)
        tracer.admitted(seconds)

    return told


async def start_watching_the_wire(
    settings: Settings,
    directory: Path,
    local: LocalAddress,
    ports: DualStackPorts,
    metrics: Metrics,
    background: Background,
) -> Wire:
    """As configured; directory: of the traces of this process.

    Raises:
        StartError: Homer's name cannot be resolved.
        OSError: the directory cannot be used.

    """
    kept, heads = await _start_traces(settings, directory, local, ports, metrics, background)
    hep = await _start_hep(settings.tracing, local, metrics, background)
    witnesses: list[Witness] = [each for each in (kept, hep) if each is not None]
    return Wire(
        Witnesses(*witnesses) if len(witnesses) > 1 else next(iter(witnesses), None),
        None if kept is None else CallTraces(kept, heads, mask=settings.logs.mask_personal_data),
        heads,
    )


async def _start_hep(
    settings: Tracing, local: LocalAddress, metrics: Metrics, background: Background
) -> HepSender | None:
    """What sends SIP messages to Homer, if it is named."""
    if not settings.hep_address:
        return None
    host, _, port = settings.hep_address.rpartition(":")
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
    except (OSError, ValueError, TimeoutError) as error:
        raise StartError(f"tracing.hep_address: cannot resolve {settings.hep_address!r}: {error}") from error
    sender = HepSender(
        (str(found[0][4][0]), int(port)),
        settings.hep_agent_id,
        settings.hep_password.get_secret_value(),
        local,
        count=lambda result, messages: metrics.hep.labels(result).inc(messages),
    )
    background.run(sender.run, "hep")
    return sender


async def _start_traces(
    settings: Settings,
    directory: Path,
    local: LocalAddress,
    ports: DualStackPorts,
    metrics: Metrics,
    background: Background,
) -> tuple[TraceLog | None, RtpHeads | None]:
    """What keeps the wire's messages, and if asked to, the heads of RTP packets."""
    room = settings.traces.max_total_bytes
    if not room:
        return None, None

    def failed(error: OSError) -> None:
        log.error("traces not written", error=str(error), key="data.dir")

    traces = TraceLog(
        Segments(directory, room), local, on_dropped=metrics.traces_dropped.inc, on_error=failed
    )
    heads = RtpHeads(ports, Segments(directory / "rtp", room)) if settings.traces.rtp else None
    writers: list[TraceWriter[Any]] = [traces.writer] if heads is None else [traces.writer, heads.writer]
    for writer in writers:
        await writer.open()
        background.push_async_callback(writer.flush)
        background.run(writer.run, "traces")
    return traces, heads

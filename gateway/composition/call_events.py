"""What tells the API, wherever it runs, of calls and of voicemails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from redis.asyncio import Redis

from gateway.composition.background import Background
from gateway.config import Settings
from gateway.destinations.voicemail_outbox import VoicemailOutbox
from gateway.recordings_place import local_directory
from gateway.telemetry.metrics import Metrics
from routing.event_stream import FAILURES, EventWriter

LAST_EVENTS_SECONDS: Final = 2.0
"""For the events of calls that ended with us to be in Redis."""

log = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class CallEvents:
    """writer: takes events to Redis; outbox: keeps voicemails until the API has them."""

    writer: EventWriter
    outbox: VoicemailOutbox


async def start_events(
    settings: Settings,
    redis: Redis,
    node_name: str,
    is_gone: Callable[[str], bool],
    metrics: Metrics,
    background: Background,
) -> CallEvents:
    """is_gone: whether the process of that name, which recorded voicemails here, is not there any more."""
    writer = EventWriter(
        redis,
        on_dropped=metrics.events_dropped.inc,
        on_error=lambda text: log.error("events not written", detail=text, key="redis.url"),
        on_again=lambda count: log.info("events written again that Redis had lost", count=count),
    )
    background.push_async_callback(_last_events, writer)
    background.run(writer.run, "call-events")
    outbox = VoicemailOutbox(
        settings.data.dir / "voicemail-outbox",
        local_directory(settings),
        writer,
        min_seconds=settings.voicemail.min_seconds,
        recorder=node_name,
        abandoned=is_gone,
        on_error=lambda text: log.error("voicemail not delivered yet", detail=text),
    )
    background.push_async_callback(outbox.close)
    await outbox.recover()
    background.run(outbox.run, "voicemail-outbox")
    return CallEvents(writer, outbox)


async def _last_events(writer: EventWriter) -> None:
    with contextlib.suppress(*FAILURES):
        async with asyncio.timeout(LAST_EVENTS_SECONDS):
            await writer.flush()

"""The ports that calls' audio goes through: ours, or those of rtpengine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gateway.composition.addresses import media_host
from gateway.composition.background import Background
from gateway.config import Settings
from gateway.media.dual_stack_ports import DualStackPorts
from gateway.media.port_pool import PortPool
from gateway.media.quality import stream_mos
from gateway.media.reception import PortStats
from gateway.media.rtpengine import RtpEngines
from gateway.media_engine import media_engine
from gateway.telemetry.media_totals import MediaTotals
from gateway.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class MediaParts:
    """ports: ours; engines: rtpengine, where it relays; totals: what went through either."""

    ports: DualStackPorts
    engines: RtpEngines | None
    totals: MediaTotals[PortStats]


async def start_media(settings: Settings, metrics: Metrics, background: Background) -> MediaParts:
    """As configured."""
    media = settings.media
    host = await asyncio.to_thread(
        media_host, media.bind, media.advertised_host or settings.sip.advertised_host
    )
    host6 = await asyncio.to_thread(media_host, media.bind6, media.advertised_host6)

    def stream_over(stats: PortStats) -> None:
        totals.closed(stats)

    def pool(bind: str, advertise: str) -> PortPool:
        return PortPool(bind, media.port_low, media.port_high, advertise=advertise, on_closed=stream_over)

    ports = DualStackPorts(pool(media.bind, host), pool(media.bind6, host6) if media.bind6 else None)
    background.callback(ports.close)
    engines = media_engine(media, metrics, stream_over)

    def open_streams() -> list[PortStats]:
        return [*ports.open_stats(), *(engines.open_stats() if engines is not None else [])]

    totals = MediaTotals(metrics, open_streams, stream_mos)
    if engines is not None:
        engines.start()
        background.push_async_callback(engines.close)
    return MediaParts(ports, engines, totals)

"""How the caller's audio does over time: a measurement every few seconds, for the chart of a call's page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.calls.call import Call
from gateway.media.quality import mos, one_way_delay, rating
from gateway.media.reception import PortStats
from routing.call_records import AudioSample, thinned

SAMPLE_SECONDS: Final = 5.0
"""Between measurements: 250 packets, enough for a loss of one in a hundred to show."""

TURN: Final = 100
"""Calls measured without letting anybody else run: half a millisecond."""


@dataclass(slots=True)
class _Seen:
    """Counts at the last measurement."""

    received: int
    lost: int


class QualitySampler:
    """Measures every live call.

    Args:
        calls: those that are alive.

    """

    def __init__(self, calls: Iterable[Call]) -> None:
        self._calls = calls
        self._seen: dict[str, _Seen] = {}

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            await self.measure()

    async def measure(self) -> None:
        """One measurement of each call."""
        before, self._seen = self._seen, {}
        for count, call in enumerate(self._calls, 1):
            if count % TURN == 0:
                await asyncio.sleep(0)
            stats = call.audio.heard
            if stats is None or not stats.packets_in:
                continue
            seen = before.get(call.id, _Seen(0, 0))
            sample = _sample(call.seconds, stats, stats.packets_in - seen.received, stats.lost - seen.lost)
            self._seen[call.id] = _Seen(stats.packets_in, stats.lost)
            if sample is not None:
                record = call.record
                record.samples.append(sample)
                record.samples = thinned(record.samples)


def _sample(at: float, stats: PortStats, received: int, lost: int) -> AudioSample | None:
    if received <= 0:
        return None
    loss = max(0, lost) / (received + max(0, lost))
    delay = one_way_delay(stats.round_trip or 0.0, stats.jitter)
    value = mos(rating(stats.codec, loss, delay))
    return AudioSample(round(at, 1), round(value, 2), round(loss, 4), round(stats.jitter, 5))

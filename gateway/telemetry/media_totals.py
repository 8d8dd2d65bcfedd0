"""RTP totals for the metrics: ports that are open are read at each scrape, not counted packet by packet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from gateway.telemetry.metrics import Metrics


class StreamStats(Protocol):
    """What a media port has seen."""

    packets_in: int
    packets_out: int
    dropped_forged: int
    dropped_replayed: int
    handshake: str
    measured: bool

    @property
    def lost(self) -> int:
        """Packets that never came."""

    @property
    def jitter(self) -> float:
        """Seconds."""

    @property
    def round_trip(self) -> float | None:
        """Seconds; None if the peer's reports never told."""


StatsT = TypeVar("StatsT", bound=StreamStats)


class MediaTotals(Generic[StatsT]):
    """Turns counts per port, which end with their call, into counters that never fall.

    open_ports: what the ports that are open now have seen.
    mos: estimates how what came through a port sounded; None if nothing did.
    """

    def __init__(
        self,
        metrics: Metrics,
        open_ports: Callable[[], Iterable[StatsT]],
        mos: Callable[[StatsT], float | None],
    ) -> None:
        self._metrics = metrics
        self._mos = mos
        self._open_ports = open_ports
        self._closed = [0] * 5
        self._told = [0] * 5

    def closed(self, stats: StatsT) -> None:
        """A port was closed: its counts are final."""
        for index, count in enumerate(_counts(stats)):
            self._closed[index] += count
        if stats.packets_in and stats.measured:
            self._metrics.rtp_jitter.observe(stats.jitter)
        if stats.handshake:
            self._metrics.dtls_handshakes.labels(stats.handshake).inc()
        if stats.round_trip is not None:
            self._metrics.rtp_round_trip.observe(stats.round_trip)
        if (mos := self._mos(stats)) is not None:
            self._metrics.rtp_mos.observe(mos)

    def refresh(self) -> None:
        """Bring the counters up to date."""
        totals = self._closed.copy()
        for stats in self._open_ports():
            for index, count in enumerate(_counts(stats)):
                totals[index] += count
        # Loss can shrink when late packets come; a counter must not.
        received, sent, lost, forged, replayed = (
            max(0, new - old) for new, old in zip(totals, self._told, strict=True)
        )
        self._metrics.rtp("in", received)
        self._metrics.rtp("out", sent)
        self._metrics.rtp_lost.inc(lost)
        self._metrics.srtp_rejected.labels("forged").inc(forged)
        self._metrics.srtp_rejected.labels("replayed").inc(replayed)
        self._told = [max(new, old) for new, old in zip(totals, self._told, strict=True)]


def _counts(stats: StreamStats) -> tuple[int, int, int, int, int]:
    return stats.packets_in, stats.packets_out, stats.lost, stats.dropped_forged, stats.dropped_replayed

from __future__ import annotations

import pytest

from gateway.media.reception import PortStats
from gateway.media.rtp import pack


def feed(stats: PortStats, sequences: list[int], ssrc: int = 1, start: float = 0.0) -> None:
    for index, sequence in enumerate(sequences):
        stats.received(pack(0, sequence & 0xFFFF, index * 160, ssrc, b""), start + index * 0.02)


def test_a_whole_stream_has_no_loss_and_no_jitter() -> None:
    stats = PortStats()
    feed(stats, list(range(65000, 66100)))  # across the wrap
    assert stats.packets_in == 1100
    assert stats.lost == 0
    assert stats.jitter == pytest.approx(0, abs=1e-9)


def test_gaps_are_loss() -> None:
    stats = PortStats()
    feed(stats, [1, 2, 5, 6, 10])
    assert stats.lost == 5


def test_late_packets_are_not_lost_and_duplicates_hide_nothing_negative() -> None:
    stats = PortStats()
    feed(stats, [1, 3, 2, 4])
    assert stats.lost == 0
    feed(stats, [4, 4, 4])
    assert stats.lost == 0


def test_another_source_keeps_the_losses_of_the_first() -> None:
    stats = PortStats()
    feed(stats, [1, 5])
    feed(stats, [40000, 40001, 40003], ssrc=2)
    assert stats.lost == 3 + 1


def test_a_restart_of_the_same_source_is_no_loss() -> None:
    stats = PortStats()
    feed(stats, [1, 2, 3, 30000, 30001])
    assert stats.lost == 0


def test_jitter_is_the_smoothed_deviation_of_transit_time() -> None:
    """RFC 3550 A.8 by hand: alternating 20 ms ± 2 ms gives |D| = 4 ms, whose running mean it approaches."""
    stats = PortStats()
    expected = 0.0
    for index in range(400):
        late = 0.004 if index % 2 else 0.0
        stats.received(pack(0, index, index * 160, 1, b""), index * 0.02 + late)
        if index:
            expected += (0.004 - expected) / 16
    assert stats.jitter == pytest.approx(expected, rel=1e-6)
    assert stats.jitter == pytest.approx(0.004, rel=1e-3)


def test_timestamps_wrap_without_jitter() -> None:
    stats = PortStats()
    for index in range(20):
        stats.received(pack(0, index, (0xFFFFFFFF - 1000 + index * 160) & 0xFFFFFFFF, 1, b""), index * 0.02)
    assert stats.jitter == pytest.approx(0, abs=1e-9)


def test_the_packets_of_a_dtmf_event_are_no_jitter() -> None:
    stats = PortStats()
    for index in range(10):
        stats.received(pack(101, index, 5000, 1, b""), index * 0.02)
    stats.received(pack(0, 10, 5000 + 10 * 160, 1, b""), 0.2)
    assert stats.jitter == pytest.approx(0, abs=1e-9)

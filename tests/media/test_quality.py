"""The E-model against values that the recommendations print."""

from __future__ import annotations

import pytest

from gateway.media.quality import leg_quality, mos, one_way_delay, rating, stream_mos
from gateway.media.reception import PortStats
from gateway.media.rtp import pack


@pytest.mark.parametrize(
    ("r", "expected"),
    [
        (90, 4.34),
        (80, 4.03),
        (70, 3.60),
        (60, 3.10),
        (50, 2.58),
        (93.2, 4.41),
        (0, 1.0),
        (-5, 1.0),
        (100, 4.5),
    ],
)
def test_mos_of_a_rating_is_that_of_g_107_annex_b(r: float, expected: float) -> None:
    assert mos(r) == pytest.approx(expected, abs=0.01)


def test_the_lowest_ratings_are_no_worse_than_bad() -> None:
    assert min(mos(r / 10) for r in range(100)) == 1.0


@pytest.mark.parametrize(
    ("codec", "loss", "ie_eff"),
    [
        ("PCMU", 0.0, 0.0),
        ("PCMU", 0.01, 95 / 26.1),  # G.113 Appendix I: Bpl of G.711 with concealment is 25.1
        ("PCMA", 0.05, 95 * 5 / 30.1),
        ("G729", 0.0, 11.0),
        ("G729", 0.04, 11 + 84 * 4 / 23),
        ("opus", 0.01, 95 / 26.1),
        ("PCMU", 1.5, 95 * 100 / 125.1),
    ],
)
def test_loss_costs_what_the_equipment_formula_says(codec: str, loss: float, ie_eff: float) -> None:
    assert rating(codec, loss, 0.05) == pytest.approx(93.2 - ie_eff)


@pytest.mark.parametrize(
    ("delay", "idd"), [(0.0, 0.0), (0.1, 0.0), (0.2, 3.04), (0.3, 14.76), (0.4, 24.08), (0.5, 30.62)]
)
def test_delay_costs_nothing_up_to_100_ms_and_then_ever_more(delay: float, idd: float) -> None:
    assert 93.2 - rating("PCMU", 0, delay) == pytest.approx(idd, abs=0.1)


def test_a_way_of_100_ms_with_10_ms_of_jitter() -> None:
    assert one_way_delay(0.2, 0.01) == pytest.approx(0.16)


def test_a_leg_is_summed_up() -> None:
    stats = PortStats()
    stats.speaks("PCMA", 8000)
    assert stream_mos(stats) is None
    for sequence in (1, 2, 3, 5):
        stats.received(pack(8, sequence, sequence * 160, 1, b""), sequence * 0.02)
    stats.measured_round_trip(0.1)
    stats.measured_round_trip(0.2)
    quality = leg_quality("caller", stats)
    assert (quality.leg, quality.codec, quality.packets_in, quality.lost) == ("caller", "PCMA", 4, 1)
    assert quality.round_trip == pytest.approx(0.15)
    assert quality.mos == pytest.approx(mos(rating("PCMA", 0.2, 0.115)), abs=0.01)
    assert (quality.far_lost, quality.far_jitter) == (None, None)

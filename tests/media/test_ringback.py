from __future__ import annotations

from typing import Any

import pytest

from gateway.media.ringback import LEVEL, Cadence, cadence, ringback

FRAME = 320


def test_north_america_rings_two_seconds_of_two_tones_and_four_of_silence(level: Any) -> None:
    for country in ("US", "CA", "JM"):
        period = ringback(country)
        assert len(period) == 2 * 8000 * 6
        on = period[1600:25600]  # 1.5 s: whole periods of both tones
        assert level(on, 440) == pytest.approx(LEVEL, abs=0.2)
        assert level(on, 480) == pytest.approx(LEVEL, abs=0.2)
        assert period[32000:] == bytes(64000)


def test_britain_rings_twice_in_three_seconds(level: Any) -> None:
    period = ringback("GB")
    assert len(period) == 2 * 8000 * 3
    loud = [any(period[at : at + FRAME]) for at in range(0, len(period), FRAME)]
    assert [loud.index(True), loud.index(False), loud.index(True, 25)] == [0, 20, 30]
    assert not any(loud[50:])
    assert level(period[1600:4800], 400) == pytest.approx(LEVEL, abs=0.3)


def test_who_has_none_of_its_own_gets_what_the_itu_recommends() -> None:
    for country in ("DE", "XX", ""):
        assert cadence(country) == Cadence((425.0,), (1.0, 4.0))


@pytest.mark.parametrize("country", ["US", "GB", "FR", "JP", "AU", "HU", "ZA", "DE"])
def test_every_period_is_whole_frames_and_the_sum_of_its_beats(country: str) -> None:
    period = ringback(country)
    assert len(period) % FRAME == 0
    assert len(period) / 16000 == pytest.approx(sum(cadence(country).beats), abs=0.02)
    assert max(period)

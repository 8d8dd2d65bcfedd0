from __future__ import annotations

from array import array
from typing import Any

import pytest

from gateway.media import tones
from gateway.media.g711 import PCMU


def test_the_beep_is_1_khz_at_minus_12_dbm0_for_400_ms(level: Any) -> None:
    beep = tones.beep()
    assert len(beep) == 2 * 3200
    middle = beep[1600:4800]
    assert level(middle, 1000) == pytest.approx(-12, abs=0.1)
    assert level(PCMU.decode(PCMU.encode(middle)), 1000) == pytest.approx(-12, abs=0.3)
    for other in (400, 850, 1150, 2000):
        assert level(middle, other) < -50


def test_tones_begin_and_end_softly() -> None:
    samples = array("h", tones.beep())
    peak = max(samples)
    assert peak == pytest.approx(tones.amplitude(-12), rel=0.01)
    assert max(map(abs, samples[:8])) < peak / 4
    assert max(map(abs, samples[-8:])) < peak / 4


def test_a_full_scale_sine_is_3_17_dbm0(level: Any) -> None:
    loud = tones.tone((1000.0,), 0.1, 3.17)
    assert max(array("h", loud)) == pytest.approx(32124, abs=40)
    assert level(loud[160:-160], 1000) == pytest.approx(3.17, abs=0.05)


def test_too_loud_a_sum_is_clipped() -> None:
    samples = array("h", tones.tone((440.0, 480.0), 0.5, 3.0))
    assert max(samples) == 32767
    assert min(samples) == -32768


def test_silence_is_zeros() -> None:
    assert tones.silence(0.1) == bytes(1600)

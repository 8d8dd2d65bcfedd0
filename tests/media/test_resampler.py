from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.resampler import RATES, Resampler

PAIRS = list(permutations(RATES, 2))


def sine(hertz: float, rate: int, peak: float = 10000) -> bytes:
    return (peak * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)).astype("<i2").tobytes()


def in_frames(resampler: Resampler, pcm: bytes, rate: int) -> list[bytes]:
    size = rate // 50 * 2
    return [resampler.resample(pcm[at : at + size]) for at in range(0, len(pcm), size)]


def level(pcm: bytes, hertz: float, rate: int) -> tuple[float, float]:
    """Decibels of one frequency against full sine of 10000, and of everything else; the first 100 ms apart."""
    samples = np.frombuffer(pcm, "<i2")[rate // 10 :].astype(float)
    turning = np.exp(-2j * np.pi * hertz * np.arange(len(samples)) / rate)
    part = 2 * np.mean(samples * turning)
    rest = samples - np.real(part / turning)
    return 20 * np.log10(abs(part) / 10000 + 1e-9), 20 * np.log10(
        np.sqrt(2 * np.mean(rest**2)) / 10000 + 1e-9
    )


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_each_frame_becomes_a_frame_at_once(source: int, target: int) -> None:
    frames = in_frames(Resampler(source, target), bytes(2 * source), source)
    assert {len(frame) for frame in frames} == {target // 50 * 2}


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("hertz", [300, 1000, 3000])
def test_the_telephone_band_passes_unchanged(source: int, target: int, hertz: int) -> None:
    heard = b"".join(in_frames(Resampler(source, target), sine(hertz, source), source))
    wanted, rest = level(heard, hertz, target)
    assert wanted == pytest.approx(0, abs=0.1)
    assert rest < -60


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if pair[0] > pair[1]])
def test_what_the_lower_rate_cannot_carry_is_gone(source: int, target: int) -> None:
    heard = b"".join(in_frames(Resampler(source, target), sine(0.62 * target, source), source))
    assert level(heard, 1000, target)[1] < -60


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_it_delays_by_about_two_milliseconds(source: int, target: int) -> None:
    click = np.zeros(source, "<i2")
    click[source // 2] = 20000
    heard = np.frombuffer(b"".join(in_frames(Resampler(source, target), click.tobytes(), source)), "<i2")
    delay = np.argmax(np.abs(heard.astype(int))) / target - 0.5
    assert 0 <= delay <= 0.0026


def test_full_scale_does_not_wrap() -> None:
    square = np.where(np.arange(1600) // 40 % 2, 32767, -32768).astype("<i2").tobytes()
    heard = np.frombuffer(b"".join(in_frames(Resampler(8000, 16000), square, 8000)), "<i2").astype(int)
    assert heard[60:100].std() < 4000  # the first plateau after the filter has filled: no jump of 65536
    assert heard.max() == 32767


@pytest.mark.parametrize("rates", [(8000, 11025), (44100, 8000)])
def test_other_rates_are_refused(rates: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="rates are"):
        Resampler(*rates)


@given(st.sampled_from(PAIRS), st.lists(st.integers(0, 2000), max_size=12))
def test_the_cuts_do_not_matter(rates: tuple[int, int], cuts: list[int]) -> None:
    pcm = sine(440, 16000)[: 2 * sum(cuts)]
    whole, pieces = Resampler(*rates), Resampler(*rates)
    at, got = 0, b""
    for cut in cuts:
        got += pieces.resample(pcm[at : at + 2 * cut])
        at += 2 * cut
    expected = whole.resample(pcm[:at])
    a, b = np.frombuffer(got, "<i2").astype(int), np.frombuffer(expected, "<i2").astype(int)
    assert len(a) == len(b)
    assert not len(a) or np.abs(a - b).max() <= 1

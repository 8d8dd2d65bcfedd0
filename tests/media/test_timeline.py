"""Both channels of a recording stay together, whatever clocks and networks do."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.timeline import Timeline

HOUR_OF_PACKETS = 180_000
RATE = 8000
IN_SYNC = 0.020 * RATE


@pytest.mark.parametrize(("ppm", "jitter"), [(-150, 0.06), (0, 0.0), (150, 0.06)])
def test_an_hour_with_another_clock_stays_in_sync(ppm: int, jitter: float) -> None:
    rng = random.Random(ppm)
    timeline = Timeline(RATE)
    first = 2**32 - 1_000_000  # wraps on the way
    spoken_at, worst, steps = 0.0, 0.0, 0
    last = None
    for number in range(HOUR_OF_PACKETS):
        spoken_at = number * 0.02 * (1 + ppm * 1e-6)
        at = timeline.place(7, (first + 160 * number) % 2**32, RATE, spoken_at + rng.random() * jitter)
        if number > 200:  # the first seconds tell how early the earliest packet is
            worst = max(worst, abs(at - spoken_at * RATE))
        if last is not None and number > 200:
            steps = max(steps, abs(at - last - 160))
        last = at
    assert worst < IN_SYNC / 2
    assert steps <= 2, "corrections are to be a sample at a time, so that nobody hears them"


def test_loss_and_silence_suppression_keep_their_time() -> None:
    timeline = Timeline(RATE)
    assert timeline.place(7, 1000, RATE, 1.0) == 8000
    assert timeline.place(7, 1000 + 160 * 10, RATE, 1.2) == 8000 + 1600
    assert timeline.place(7, 1000 + 160 * 1000, RATE, 21.0) == 8000 + 160_000


def test_packets_in_the_wrong_order_have_their_places() -> None:
    timeline = Timeline(RATE)
    places = [
        timeline.place(7, 160 * number, RATE, 1.0 + index * 0.02) for index, number in enumerate((0, 2, 1, 3))
    ]
    assert places == [8000, 8320, 8160, 8480]


def test_another_source_begins_where_it_is_heard() -> None:
    timeline = Timeline(RATE)
    timeline.place(7, 5000, RATE, 1.0)
    assert timeline.place(8, 99, RATE, 2.0) == 16_000


def test_a_wideband_clock() -> None:
    timeline = Timeline(16_000)
    assert timeline.place(7, 0, 48_000, 1.0) == 16_000
    assert timeline.place(7, 960, 48_000, 1.02) == 16_320


def test_a_sender_whose_timestamps_pause_is_found_again() -> None:
    timeline = Timeline(RATE)
    for number in range(100):
        timeline.place(7, 160 * number, RATE, number * 0.02)
    for number in range(100, 300):  # half a second later, without telling
        at = timeline.place(7, 160 * number, RATE, number * 0.02 + 0.5)
    assert abs(at - (299 * 160 + 4000)) < IN_SYNC


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2**32 - 1), st.sampled_from([8000, 16000, 48000])),
        max_size=50,
    )
)
def test_nobody_gets_further_than_a_second_from_now(packets: list[tuple[int, int, int]]) -> None:
    timeline = Timeline(RATE)
    for number, (ssrc, timestamp, clock_rate) in enumerate(packets):
        now = number * 0.02
        assert abs(timeline.place(ssrc, timestamp, clock_rate, now) - now * RATE) <= 2 * RATE

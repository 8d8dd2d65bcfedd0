from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.jitter_buffer import GIVEN_UP, HOPELESS, MAX_HELD, MAX_LATE, Gap, JitterBuffer
from gateway.media.network_delay import (
    BLOCK,
    FIRST_TARGET,
    LEAST_TARGET,
    MARGIN,
    MOST_TARGET,
    NetworkDelay,
)

FRAME = 0.02
BEAT = 0.001
"""The beats of these tests come this long after a packet was sent: never at the same moment."""


class Line:
    """A buffer, a peer that numbers its packets, and the beat. Packet n is sent at n * 20 ms."""

    def __init__(self, first_sequence: int = 1000, first_timestamp: int = 5000) -> None:
        self.buffer: JitterBuffer[int] = JitterBuffer(8000)
        self.sequence, self.timestamp = first_sequence, first_timestamp
        self.played: list[int | Gap] = []
        self.beats = 0

    def arrive(self, number: int, now: float, *, skew: int = 0, ssrc: int = 7, units: int = 160) -> None:
        """Packet `number`; `skew`: sequence numbers left out before it, as a peer that paused does not."""
        self.buffer.put(
            self.sequence + number - skew & 0xFFFF,
            self.timestamp + 160 * number & 0xFFFFFFFF,
            ssrc, units, number, now,
        )  # fmt: skip

    def run(self, until: float, arrivals: dict[float, int | tuple[int, ...]] | None = None) -> None:
        """Beat until that time, with packets arriving in between at their times."""
        coming = sorted((arrivals or {}).items())
        while self.beats * FRAME + BEAT < until:
            now = self.beats * FRAME + BEAT
            while coming and coming[0][0] <= now:
                at, numbers = coming.pop(0)
                for number in (numbers,) if isinstance(numbers, int) else numbers:
                    self.arrive(number, at)
            self.played.append(self.buffer.take(now))
            self.beats += 1

    @property
    def numbers(self) -> list[int]:
        return [each for each in self.played if isinstance(each, int)]

    def gaps(self, kind: Gap) -> int:
        """Gaps of a kind between the first packet and the last."""
        audio = [at for at, each in enumerate(self.played) if isinstance(each, int)]
        return self.played[audio[0] : audio[-1]].count(kind)


def steady(count: int, delay: float = 0.0, *, without: tuple[int, ...] = ()) -> dict[float, int]:
    return {number * FRAME + delay: number for number in range(count) if number not in without}


def test_every_packet_has_its_beat_after_the_first_wait() -> None:
    line = Line()
    line.run(2, steady(100))
    waited = line.played.index(0)
    assert waited * FRAME == pytest.approx(FIRST_TARGET, abs=FRAME)
    assert line.played[waited:] == list(range(100 - waited))


@pytest.mark.parametrize(
    ("sequence", "timestamp"), [(0xFFF0, 5000), (1000, 0xFFFFF000), (0xFFFF, 0xFFFFFFFF)]
)
def test_numbers_that_wrap_are_numbers_like_others(sequence: int, timestamp: int) -> None:
    line = Line(sequence, timestamp)
    line.run(2, steady(100))
    assert line.numbers == list(range(96))
    assert line.buffer.stats.concealed == line.buffer.stats.restarts == 0


def test_packets_out_of_order_are_put_in_order() -> None:
    line = Line()
    arrivals: dict[float, int | tuple[int, ...]] = dict(steady(60, without=(9, 10, 11)))
    arrivals[11 * FRAME + 0.0001] = (11, 10, 9)
    line.run(1, arrivals)
    assert line.numbers == list(range(46))
    assert line.buffer.stats.late == 0


def test_a_lost_packet_is_a_gap_in_its_place() -> None:
    line = Line()
    line.run(1, steady(60, without=(10, 20, 21)))
    begin = line.played.index(0)
    assert line.played[begin + 10] is Gap.LOST
    assert line.played[begin + 20 : begin + 22] == [Gap.LOST, Gap.LOST]
    assert line.played[begin + 22] == 22
    assert line.buffer.stats.concealed == 3
    assert line.buffer.stats.underruns == 0


def test_the_first_packet_may_be_lost() -> None:
    line = Line()
    line.run(1, steady(60, without=(0, 1)))
    assert line.numbers[:3] == [2, 3, 4]
    assert line.buffer.stats.concealed == 0


def test_the_first_packet_may_be_overtaken() -> None:
    line = Line()
    line.run(1, {0.0: (1, 0), **{number * FRAME: number for number in range(2, 60)}})
    assert line.numbers[:3] == [0, 1, 2]


def test_late_packets_and_duplicates_are_told_apart() -> None:
    line = Line()
    arrivals: dict[float, int | tuple[int, ...]] = dict(steady(60, without=(10,)))
    arrivals[0.4001] = 10  # 200 ms late
    arrivals[0.6001] = (5, 30, 30)  # played, about to be played, and once more
    line.run(1, arrivals)
    assert (line.buffer.stats.late, line.buffer.stats.duplicates) == (1, 3)
    assert 10 not in line.numbers
    assert line.numbers == sorted(set(line.numbers))


def test_a_network_that_stops_for_a_moment_delays_the_rest() -> None:
    """All packets come, only 150 ms later from one on: nothing is lost, and the delay has grown."""
    line = Line()
    line.run(2, {number * FRAME + (0.15 if number >= 20 else 0): number for number in range(100)})
    assert line.numbers == list(range(len(line.numbers)))
    assert line.buffer.stats.underruns == line.buffer.stats.concealed == line.gaps(Gap.EMPTY) > 0


def test_a_burst_of_loss_does_not_delay_the_rest() -> None:
    line = Line()
    line.run(2, steady(100, without=tuple(range(20, 27))))
    begin = line.played.index(0)
    assert line.played[begin + 27] == 27
    assert line.buffer.stats.concealed == 7
    assert line.buffer.stats.underruns == 0


def test_a_peer_that_suppresses_silence_has_lost_nothing() -> None:
    line = Line()
    for number in range(20):
        line.arrive(number, number * FRAME)
        line.run((number + 1) * FRAME)
    line.run(3)
    for number in range(150, 170):
        line.arrive(number, number * FRAME, skew=130)  # numbered without a gap
        line.run((number + 1) * FRAME)
    line.run(4)
    assert line.numbers == [*range(20), *range(150, 170)]
    assert line.buffer.stats.concealed == line.buffer.stats.late == 0
    assert line.gaps(Gap.PAUSE) > 100
    assert line.gaps(Gap.EMPTY) * FRAME <= GIVEN_UP + FRAME


def test_a_pause_that_is_announced_begins_where_it_is_announced() -> None:
    line = Line()
    for number in range(20):
        line.arrive(number, number * FRAME)
        line.run((number + 1) * FRAME)
    line.buffer.put(line.sequence + 20, line.timestamp + 20 * 160, 7, 0, 55, 20 * FRAME)
    line.run(1)
    assert line.gaps(Gap.EMPTY) == 0
    assert line.played[-1] is Gap.PAUSE
    assert line.buffer.pause == 55
    line.buffer.put(line.sequence + 21, line.timestamp + 30 * 160, 7, 0, 60, 1.0)
    line.run(1.1)
    assert line.buffer.pause == 60


def test_the_delay_shrinks_in_a_pause() -> None:
    line = Line()
    line.run(4, steady(200))
    assert line.buffer.delay.target == LEAST_TARGET
    assert line.buffer.surplus > FRAME
    for number in range(300, 400):
        line.arrive(number, number * FRAME, skew=100)
        line.run((number + 1) * FRAME)
    assert line.beats - 1 - line.numbers[-1] <= 2  # frames behind the peer


@pytest.mark.parametrize("ssrc", [7, 8])
def test_a_new_source_or_new_numbers_begin_again(ssrc: int) -> None:
    line = Line()
    line.run(1, steady(50))
    line.sequence, line.timestamp = line.sequence + 20000, line.timestamp + 12345678
    for number in range(50, 100):
        line.arrive(number, number * FRAME, ssrc=ssrc)
        line.run((number + 1) * FRAME)
    assert line.buffer.stats.restarts == 1
    assert line.numbers[-40:] == list(range(line.numbers[-1] - 39, line.numbers[-1] + 1))
    assert line.beats - line.numbers[-1] <= 7


def test_one_stray_number_restarts_nothing() -> None:
    line = Line()
    arrivals: dict[float, int | tuple[int, ...]] = dict(steady(60))
    arrivals[0.5001] = 30000
    line.run(1, arrivals)
    assert line.buffer.stats.restarts == 0
    assert line.numbers == list(range(46))


def test_a_media_clock_set_anew_is_followed() -> None:
    line = Line()
    line.run(1, steady(50))
    line.timestamp += 8000 * 3600
    for number in range(50, 100):
        line.arrive(number, number * FRAME)
        line.run((number + 1) * FRAME)
    assert line.buffer.stats.restarts == 1
    assert line.beats - line.numbers[-1] <= 7


def test_a_backlog_is_skipped_so_that_people_can_talk() -> None:
    line = Line()
    arrivals: dict[float, int | tuple[int, ...]] = dict(steady(25))
    arrivals[0.5 + 0.9] = tuple(range(25, 70))  # the network stood still for 0.9 s
    arrivals.update({number * FRAME: number for number in range(71, 150)})
    line.run(3, arrivals)
    assert line.buffer.stats.skipped > 10
    assert line.buffer.surplus < HOPELESS


def test_a_flood_pushes_out_the_oldest() -> None:
    line = Line()
    for number in range(4 * MAX_HELD):
        line.arrive(number, 0.0)
    assert len(line.buffer._held) <= MAX_HELD
    line.run(2)
    assert line.numbers[-1] == 4 * MAX_HELD - 1


def test_jitter_below_the_first_target_does_no_harm() -> None:
    line = Line()
    delays = [0, 0.06, 0.031, 0.055, 0.012, 0.06, 0.0, 0.047] * 60
    line.run(8, {number * (FRAME + 1e-7) + delay: number for number, delay in enumerate(delays)})
    assert line.numbers == list(range(len(line.numbers)))
    assert len(line.numbers) > 390
    assert line.gaps(Gap.EMPTY) == line.gaps(Gap.LOST) == 0
    assert line.buffer.delay.target == pytest.approx(0.06 + MARGIN, abs=0.001)


def test_one_spike_is_left_to_concealment_and_two_are_a_habit() -> None:
    delay = NetworkDelay()

    def second(at: int, spike: float) -> None:
        for beat in range(50):
            delay.note(5.0 + (spike if beat == 25 else 0.0), at + beat * FRAME)

    for at in range(4):
        second(at, 0.0)
    assert delay.target == LEAST_TARGET
    second(4, 0.2)
    assert delay.target == LEAST_TARGET
    second(5, 0.15)
    assert delay.target == pytest.approx(0.15 + MARGIN)
    second(6, 9.0)
    assert delay.target == pytest.approx(0.2 + MARGIN)
    second(7, 9.0)
    assert delay.target == MOST_TARGET
    for at in range(8, 20):
        second(at, 0.0)
    assert delay.target == LEAST_TARGET


def test_a_clock_that_drifts_is_no_jitter() -> None:
    delay = NetworkDelay()
    for beat in range(50 * 600):
        delay.note(beat * FRAME * 200e-6, beat * FRAME)  # 200 ppm for ten minutes
    assert delay.target <= LEAST_TARGET + 200e-6 * BLOCK * 10


packet = st.tuples(
    st.sampled_from(["put", "put", "put", "take", "jump", "ssrc"]),
    st.integers(-MAX_LATE - 20, 200),
    st.integers(-5, 5),
    st.sampled_from([0, 80, 160, 160, 160, 240, 960, 16000]),
    st.floats(0, 0.3),
)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.lists(packet, max_size=80))
def test_nothing_raises_and_nothing_comes_twice_or_out_of_order(
    sequence: int, timestamp: int, script: list[tuple[str, int, int, int, float]]
) -> None:
    """Any order, loss, duplication, wrap, change of source and length, at any time."""
    buffer: JitterBuffer[int] = JitterBuffer(8000)
    now, ssrc, base, last, restarts = 0.0, 1, 0, -(10**9), 0
    for step, number, shake, units, pause in script:
        now += pause
        if step == "jump":
            base += 40000
        elif step == "ssrc":
            ssrc += 1
        elif step == "put":
            at = base + number
            ts = timestamp + 160 * at + shake
            buffer.put(sequence + at & 0xFFFF, ts & 0xFFFFFFFF, ssrc, units, at, now)
        for _ in range(3):
            taken = buffer.take(now)
            assert len(buffer._held) <= MAX_HELD
            if isinstance(taken, Gap):
                assert 0 < buffer.gap_units <= 160
            else:
                if buffer.stats.restarts == restarts:
                    assert taken > last
                last, restarts = taken, buffer.stats.restarts
            now += FRAME


@given(
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.lists(st.tuples(st.floats(0, 0.3), st.booleans(), st.booleans()), min_size=30, max_size=150),
)
def test_frames_come_in_every_beat_and_in_order(
    sequence: int, timestamp: int, network: list[tuple[float, bool, bool]]
) -> None:
    line = Line(sequence, timestamp)
    arrivals: dict[float, list[int]] = {}
    for number, (delay, lost, twice) in enumerate(network):
        for copy in range((not lost) + (twice and not lost)):
            arrivals.setdefault(round(number * FRAME + delay + copy * 0.013, 4), []).append(number)
    line.run(len(network) * FRAME + 1.5, {at: tuple(numbers) for at, numbers in arrivals.items()})
    assert line.numbers == sorted(set(line.numbers))
    sent = sum(not lost for _, lost, _ in network)
    stats = line.buffer.stats
    assert stats.played == len(line.numbers)
    assert stats.played + stats.late + stats.skipped == sent

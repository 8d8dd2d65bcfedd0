from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.codecs import LINEAR, OPUS, PCMU
from gateway.media.playout_buffer import (
    LEAST_PREFILL,
    MAX_MARKS,
    MAX_QUEUED,
    MOST_PREFILL,
    PREFILL,
    PlayoutBuffer,
)

FRAME = 0.02
SECOND = 8000


class Agent:
    """A buffer with its clock: ticks every 20 ms, keeps what was sent and which marks were reached."""

    def __init__(self, prefill: float = PREFILL, *, adaptive: bool = True) -> None:
        self.buffer = PlayoutBuffer(PCMU, prefill, adaptive=adaptive)
        self.marks: list[str] = []
        self.buffer.on_mark = self.marks.append
        self.now = 0.0
        self.sent: list[bytes | None] = []

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.sent.append(self.buffer.take(self.now))
            self.buffer.sent()
            self.now += FRAME

    def push(self, audio: bytes) -> int:
        return self.buffer.push(audio, self.now)

    @property
    def holes(self) -> int:
        """Beats without audio between the first and the last with some."""
        voiced = [at for at, frame in enumerate(self.sent) if frame is not None]
        return voiced[-1] - voiced[0] + 1 - len(voiced)


@pytest.mark.parametrize("chunk", [1, 7, 160, 320, 758, 1100, 5000])
def test_chunks_of_any_length_become_frames(chunk: int) -> None:
    agent = Agent()
    audio = bytes(index % 251 for index in range(SECOND))
    for at in range(0, len(audio), chunk):
        agent.push(audio[at : at + chunk])
    agent.tick(60)
    frames = [frame for frame in agent.sent if frame is not None]
    assert b"".join(frames) == audio
    assert {len(frame) for frame in frames} == {160}


def test_the_tail_is_padded_with_silence() -> None:
    agent = Agent()
    agent.push(b"\x01" * 200)
    agent.tick(20)
    assert [frame for frame in agent.sent if frame] == [b"\x01" * 160, b"\x01" * 40 + b"\xff" * 120]
    assert agent.buffer.played == 200


def test_an_utterance_waits_for_its_prefill_in_audio_or_in_time() -> None:
    quick = Agent()
    quick.push(bytes(SECOND))
    quick.tick()
    assert quick.sent[0] is not None

    short = Agent()
    short.push(bytes(160))  # all there will be
    short.tick(12)
    assert [frame is None for frame in short.sent] == [True] * 8 + [False] + [True] * 3


@pytest.mark.parametrize(("size", "beat"), [(320, 2), (758, 5), (1100, 7), (1280, 8)])
def test_a_framework_that_sends_in_real_time_leaves_no_hole(size: int, beat: int) -> None:
    agent = Agent()
    for _ in range(40):
        agent.push(b"\x01" * size)
        agent.tick(beat)
    agent.tick(20)
    # what is sent is less than what passes: those agents send a little slower than they speak, or as fast
    assert agent.buffer.starved <= (0 if size >= beat * 160 else 2)


def test_a_steady_agent_is_held_back_less_and_less() -> None:
    agent = Agent()
    for _ in range(6):
        for _ in range(50):
            agent.push(b"\x01" * 160)
            agent.tick()
        agent.tick(50)
    assert agent.buffer.prefill == pytest.approx(LEAST_PREFILL)
    assert agent.buffer.starved == 0


def test_an_unsteady_agent_is_held_back_for_longer() -> None:
    agent = Agent()
    for _ in range(3):
        for _ in range(10):
            agent.push(b"\x01" * 1600)
            agent.tick(10)
        agent.tick(12)  # a chunk is 240 ms late
    assert PREFILL < agent.buffer.prefill <= MOST_PREFILL
    assert agent.buffer.starved > 0


def test_the_prefill_can_be_fixed() -> None:
    agent = Agent(0.06, adaptive=False)
    for _ in range(6):
        agent.push(b"\x01" * 160)
        agent.tick(30)
    assert agent.buffer.prefill == 0.06


def test_marks_are_reached_when_the_audio_before_them_is_sent() -> None:
    agent = Agent()
    agent.buffer.mark("nothing before it")
    assert agent.marks == ["nothing before it"]
    agent.push(bytes(1600))
    agent.buffer.mark("one")
    agent.push(bytes(80))
    agent.buffer.mark("two")
    agent.tick(9)
    assert agent.marks == ["nothing before it"]
    agent.tick()
    assert agent.marks[1:] == ["one"]
    agent.tick()
    assert agent.marks[1:] == ["one", "two"]


def test_a_mark_is_not_reached_before_its_frame_is_sent() -> None:
    agent = Agent(0.0)
    agent.push(bytes(160))
    agent.buffer.mark("end")
    assert agent.buffer.take(0.0) is not None
    assert agent.marks == []
    agent.buffer.sent()
    assert agent.marks == ["end"]


def test_clear_tells_what_was_heard_and_what_was_not() -> None:
    agent = Agent()
    agent.push(bytes(SECOND))
    agent.buffer.mark("a")
    agent.push(bytes(SECOND))
    agent.buffer.mark("b")
    agent.tick(60)
    cleared = agent.buffer.clear()
    assert (cleared.marks, cleared.played, cleared.dropped) == (("b",), 9600, 6400)
    agent.tick()
    assert agent.sent[-1] is None
    assert agent.marks == ["a"]
    agent.push(bytes(SECOND))
    agent.tick()
    assert agent.buffer.clear().played == 9760


def test_ten_minutes_at_once_are_bounded_and_clear_is_as_quick_as_ever() -> None:
    agent = Agent()
    chunk = bytes(SECOND)
    refused = sum(agent.push(chunk) for _ in range(600))
    assert agent.buffer.queued == MAX_QUEUED * SECOND
    assert refused == agent.buffer.overflowed == (600 - MAX_QUEUED) * SECOND
    assert all(agent.buffer.mark(str(number)) for number in range(MAX_MARKS))
    assert not agent.buffer.mark("one too many")
    cleared = agent.buffer.clear()
    assert cleared.dropped == MAX_QUEUED * SECOND
    assert len(cleared.marks) == MAX_MARKS
    agent.tick()
    assert agent.sent == [None]


def test_samples_are_counted_at_the_rate_of_the_audio() -> None:
    buffer = PlayoutBuffer(LINEAR[24000])
    buffer.push(bytes(48000), 0.0)
    assert buffer.queued == buffer.pushed == 24000
    frame = buffer.take(0.0)
    assert frame is not None
    assert len(frame) == 960
    assert buffer.played == 480


def test_frames_of_any_length_cannot_be_cut() -> None:
    with pytest.raises(ValueError, match="opus"):
        PlayoutBuffer(OPUS)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 3000)),
        st.tuples(st.just("mark"), st.just(0)),
        st.tuples(st.just("tick"), st.integers(1, 15)),
        st.tuples(st.just("clear"), st.just(0)),
    ),
    max_size=40,
)


@given(steps)
def test_everything_pushed_is_sent_once_or_cleared(script: list[tuple[str, int]]) -> None:
    agent, pushed, dropped, marked, lost = Agent(), 0, 0, 0, 0
    for step, amount in script:
        match step:
            case "push":
                pushed += amount
                agent.push(bytes(amount))
            case "mark":
                marked += 1
                agent.buffer.mark(str(marked))
            case "tick":
                agent.tick(amount)
            case _:
                cleared = agent.buffer.clear()
                dropped += cleared.dropped
                lost += len(cleared.marks)
    agent.tick(3000)
    assert agent.buffer.queued == 0
    assert agent.buffer.played == agent.buffer.pushed == pushed - dropped
    assert len(agent.marks) == marked - lost
    assert agent.marks == sorted(agent.marks, key=int)
    assert LEAST_PREFILL <= agent.buffer.prefill <= MOST_PREFILL

"""When silence means that somebody has gone."""

from __future__ import annotations

from math import inf

import pytest

from gateway.destinations.silence import SilenceWatch, TerminatedAudio


class Path:
    def __init__(self, relayed: bool = True) -> None:
        self.relayed = relayed
        self.caller_at = self.agent_at = 100.0

    def silence(self, now: float) -> tuple[float, float]:
        return now - self.caller_at, now - self.agent_at


@pytest.fixture
def path() -> Path:
    return Path()


def watch(path: Path, now: float = 100.0) -> SilenceWatch:
    return SilenceWatch(path, agent_limit=5.0, caller_limit=30.0, now=now)


def test_the_agent_s_limit_is_reached_first(path: Path):
    silence = watch(path)
    assert silence.next_check(101.0) == pytest.approx(105.0)
    assert silence.silent(104.9) is None
    assert silence.silent(105.0) == "agent"


def test_the_caller_s_limit(path: Path):
    silence = watch(path)
    path.agent_at = 130.0
    assert silence.next_check(130.0) == pytest.approx(130.0)
    assert silence.silent(130.0) == "caller"


def test_a_packet_moves_the_deadline(path: Path):
    silence = watch(path)
    path.agent_at = path.caller_at = 104.0
    assert silence.next_check(104.0) == pytest.approx(109.0)


def test_hold_stops_the_clock_and_resume_starts_it_anew(path: Path):
    silence = watch(path)
    silence.hold()
    assert silence.next_check(400.0) == inf
    assert silence.silent(400.0) is None
    silence.resume(400.0)
    assert silence.silent(404.0) is None
    assert silence.silent(405.0) == "agent"


def test_nobody_is_silent_who_cannot_be_heard():
    silence = watch(Path(relayed=False))
    assert silence.next_check(10_000.0) == inf
    silence.resume(10_000.0)
    assert silence.silent(20_000.0) is None


def test_zero_means_never(path: Path):
    silence = SilenceWatch(path, agent_limit=0, caller_limit=0, now=100.0)
    assert silence.next_check(100.0) == inf
    assert silence.silent(1e9) is None


class HeardPort:
    last_packet_at: float | None = None


def test_a_caller_whose_audio_ends_here_has_the_same_limit():
    port = HeardPort()
    silence = SilenceWatch(TerminatedAudio(port, 100.0), agent_limit=0, caller_limit=30.0, now=100.0)
    assert silence.next_check(100.0) == pytest.approx(130.0)
    port.last_packet_at = 120.0
    assert silence.silent(149.9) is None
    assert silence.silent(150.0) == "caller"
    silence.hold()
    assert silence.silent(1e9) is None
    silence.resume(200.0)
    assert silence.next_check(200.0) == pytest.approx(230.0)

from __future__ import annotations

import random
import struct

import pytest

from gateway.media.tones import tone
from gateway.media.voice_activity import VoiceActivity, mean_magnitude

SILENT = bytes(320)


def noise(rms: int, seed: int) -> bytes:
    dice = random.Random(seed)
    return struct.pack("<160h", *(round(dice.gauss(0, rms)) for _ in range(160)))


def hear(activity: VoiceActivity, frames: list[bytes], start: float) -> float:
    """Feed frames 20 ms apart; returns the time after them."""
    for index, frame in enumerate(frames):
        activity.hear(frame, start + index * 0.02)
    return start + len(frames) * 0.02


def cut(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + 320] for at in range(0, len(pcm), 320)]


def test_silence_grows_until_somebody_speaks() -> None:
    activity = VoiceActivity(0.0)
    now = hear(activity, [SILENT] * 100, 0.0)
    assert activity.silence(now) == pytest.approx(2.0)
    now = hear(activity, cut(tone((300.0, 900.0), 1.0, -25)), now)
    assert activity.silence(now) < 0.05
    assert activity.voiced_seconds == pytest.approx(1.0, abs=0.05)
    now = hear(activity, [SILENT] * 250, now)
    assert activity.silence(now) == pytest.approx(5.0, abs=0.05)


def test_time_passes_also_when_no_frames_come() -> None:
    activity = VoiceActivity(0.0)
    now = hear(activity, cut(tone((300.0,), 1.0, -20)), 0.0)
    assert activity.silence(now + 7) == pytest.approx(7, abs=0.05)


def test_a_click_is_not_voice() -> None:
    activity = VoiceActivity(0.0)
    loud = tone((1000.0,), 0.02, -6)
    hear(activity, ([SILENT] * 20 + [loud] * 2) * 10, 0.0)
    assert activity.voiced_seconds == 0


def test_a_noisy_line_is_learned() -> None:
    activity = VoiceActivity(0.0)
    now = hear(activity, [noise(250, seed) for seed in range(800)], 0.0)  # about -39 dBm0
    assert activity.silence(now) > 5
    hear(activity, cut(tone((300.0, 900.0), 0.5, -20)), now)
    assert activity.silence(now + 0.5) < 0.05


def test_pauses_between_words_keep_speech_speech() -> None:
    activity = VoiceActivity(0.0)
    word = cut(tone((250.0, 700.0), 0.3, -28)) + [SILENT] * 10
    now = hear(activity, word * 120, 0.0)
    assert activity.silence(now) < 0.25
    assert activity.voiced_seconds == pytest.approx(0.3 * 120, rel=0.1)


def test_whatever_is_as_loud_as_speech_stays_voice() -> None:
    """A minute of an unbroken loud tone is not learned away: a caller who plays music is recorded."""
    activity = VoiceActivity(0.0)
    now = hear(activity, cut(tone((440.0,), 0.02, -15)) * 3000, 0.0)
    assert activity.silence(now) < 0.05


def test_levels_of_frames() -> None:
    assert mean_magnitude(b"") == 0
    assert mean_magnitude(struct.pack("<4h", 100, -100, 300, -300)) == 200
    assert mean_magnitude(struct.pack("<h", -32768)) == 32768

from __future__ import annotations

import wave
from pathlib import Path

import pytest

from gateway.media.codecs import LINEAR, PCMU, AudioCodec
from gateway.media.g711 import CODECS
from gateway.media.loudness import magnitude_of
from gateway.media.message_take import MessageTake
from gateway.media.recorder import Recorder
from gateway.media.tones import silence, tone
from gateway.media.voice_activity import VoiceActivity


@pytest.mark.parametrize("form", [PCMU, LINEAR[8000]], ids=lambda form: form.name)
async def test_all_is_recorded_and_the_last_voice_is_known(tmp_path: Path, form: AudioCodec) -> None:
    said = CODECS["PCMU"].encode(silence(0.2) + tone((300.0,), 0.4, -15) + silence(1.0))
    pcm = CODECS["PCMU"].decode(said)
    audio, size = (said, 160) if form is PCMU else (pcm, 320)
    now = 0.0
    recorder = Recorder(tmp_path / "a.wav", max_seconds=60, form=form)
    activity = VoiceActivity(now, magnitude_of(form))
    take = MessageTake(recorder, activity, lambda: now)
    for at in range(0, len(audio), size):
        now += 0.02
        take.hear(audio[at : at + size])
    recording = await recorder.close()
    assert recording.seconds == pytest.approx(1.6)
    with wave.open(str(recording.path)) as file:
        assert (file.getsampwidth(), file.getframerate(), file.getnchannels()) == (2, 8000, 1)
        assert file.readframes(file.getnframes()) == pcm
    assert take.voiced == 30
    assert activity.voiced_seconds == pytest.approx(0.4)


async def test_without_voice_there_is_no_last_voice(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.wav", max_seconds=60, form=PCMU)
    take = MessageTake(recorder, VoiceActivity(0.0, magnitude_of(PCMU)), lambda: 1.0)
    for _ in range(50):
        take.hear(PCMU.silence)
    assert take.voiced == 0
    await recorder.close()

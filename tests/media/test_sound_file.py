from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from blockbuster import BlockBuster

from gateway.media.sound_file import MAX_SECONDS, SoundFileError, load_sound


@pytest.fixture(autouse=True)
def blocking_is_allowed(no_blocking: BlockBuster) -> None:
    """It belongs into an executor."""
    no_blocking.deactivate()


def test_any_format_and_rate_become_telephone_audio(tmp_path: Path, level: Any) -> None:
    time = np.arange(44100) / 44100
    stereo = np.stack([np.sin(2 * np.pi * 1000 * time)] * 2, axis=1) * 0.5
    for name in ("sound.wav", "sound.ogg", "sound.flac"):
        soundfile.write(tmp_path / name, stereo, 44100)
        pcm = load_sound(tmp_path / name)
        assert len(pcm) == pytest.approx(16000, abs=20)
        assert level(pcm[1600:14400], 1000) == pytest.approx(-2.67, abs=0.2)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(SoundFileError, match=r"missing\.wav"):
        load_sound(tmp_path / "missing.wav")
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(SoundFileError, match=r"text\.wav"):
        load_sound(tmp_path / "text.wav")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    with pytest.raises(SoundFileError, match="no audio"):
        load_sound(tmp_path / "empty.wav")
    soundfile.write(tmp_path / "long.wav", np.zeros(100 * MAX_SECONDS + 1), 100, subtype="PCM_U8")
    with pytest.raises(SoundFileError, match="longer than"):
        load_sound(tmp_path / "long.wav")

"""A finished WAV file as Ogg/Opus: a tenth of its size.

Encoded when the call is over and not while it lasts: recordings cost the calls nothing then, and what a
killed process leaves behind is a WAV file, which plays.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import soundfile

BLOCK_FRAMES: Final = 16_000
"""In memory at a time: one or two seconds."""


def encode(source: Path) -> Path:
    """Write ``name.ogg`` beside ``name.wav``, whole or not at all. Blocks.

    Raises:
        OSError: the disk does not take it.
        ValueError: the source is no audio.

    """
    target = source.with_suffix(".ogg")
    draft = source.with_name(f".{source.stem}.draft")
    try:
        with (
            soundfile.SoundFile(source) as wav,
            soundfile.SoundFile(
                draft, "w", wav.samplerate, wav.channels, format="OGG", subtype="OPUS"
            ) as opus,
        ):
            while len(block := wav.read(BLOCK_FRAMES, dtype="int16", always_2d=True)):
                opus.write(block)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(target)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{source.name}: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return target

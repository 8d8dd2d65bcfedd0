"""Whatever an engine returns, as telephone audio: PCM16 mono 8 kHz. Blocking: belongs into an executor."""

from __future__ import annotations

import struct

import numpy as np
import soxr

from gateway.speech.errors import SpeechError

SAMPLE_RATE = 8000

_PCM = 1
_EXTENSIBLE = 0xFFFE
_RATES = range(4000, 192001)


def resample(pcm: bytes, rate: int) -> bytes:
    """PCM16 mono at `rate` Hz to 8 kHz. The same input gives the same output."""
    samples = np.frombuffer(pcm[: len(pcm) & ~1], dtype="<i2")
    if rate != SAMPLE_RATE:
        samples = soxr.resample(samples, rate, SAMPLE_RATE)
    return bytes(samples.astype("<i2").tobytes())


def decode_wav(data: bytes) -> bytes:
    """A WAV file of PCM16, any rate, one or more channels, to PCM16 mono 8 kHz.

    A data chunk that claims more than is there, or nothing, reaches to the end: engines that stream cannot
    know better.

    Raises:
        SpeechError: it is no WAV file, or its samples are not PCM16.

    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise SpeechError("the speech engine's answer is not a WAV file")
    layout: tuple[int, int] | None = None
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8
        if name == b"fmt ":
            layout = _layout(data[at : at + size])
        elif name == b"data" and layout is not None:
            rate, channels = layout
            end = at + size if 0 < size <= len(data) - at else len(data)
            return resample(_mono(data[at:end], channels), rate)
        at += size + size % 2
    raise SpeechError("the speech engine's WAV file holds no audio")


def _layout(chunk: bytes) -> tuple[int, int]:
    """Rate in Hz and number of channels."""
    if len(chunk) < 16:
        raise SpeechError("the speech engine's WAV file has a short format chunk")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if kind not in (_PCM, _EXTENSIBLE) or bits != 16 or not 1 <= channels <= 8 or rate not in _RATES:
        shape = f"format {kind}, {bits} bits, {channels} channels, {rate} Hz"
        raise SpeechError(f"the speech engine's WAV file is not PCM16 ({shape})")
    return rate, channels


def _mono(pcm: bytes, channels: int) -> bytes:
    if channels == 1:
        return pcm
    frames = np.frombuffer(pcm[: len(pcm) - len(pcm) % (2 * channels)], dtype="<i2").reshape(-1, channels)
    return bytes(frames.mean(axis=1).astype("<i2").tobytes())

"""Listening for keys in frames of any form, most of which need no more than a look at their bytes.

Looking for keys takes as long as everything else that happens to a frame. Most frames are silence, or voiced
speech, whose energy lies below the tones, or hiss, above them. Loudness and the number of zero crossings tell
these apart without decoding anything; what passes is heard properly.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.media.codecs import LINEAR, PCMA, PCMU, AudioCodec
from gateway.media.g711 import CODECS, FRAME_SAMPLES, LOUDNESS, SAMPLE_RATE
from gateway.media.inband_dtmf import InbandDtmf
from gateway.media.loudness import byte_sum
from gateway.media.transcoder import converter

LEAST_CROSSINGS = 11
MOST_CROSSINGS = 38
"""Upward zero crossings in 20 ms. Two tones make 13 (697 Hz, 8 dB above its partner) to 33 (1633 Hz);
noise shifts that a little."""

LEAST_LOUD_LAW = 8 * FRAME_SAMPLES
"""Sum of magnitudes in `LOUDNESS_STEP`s of 16, a third of that of two tones of -30 dBm0."""

LEAST_LOUD_LINEAR = FRAME_SAMPLES // 2
"""Sum of magnitudes in steps of 256, likewise."""

Gate = Callable[[bytes], bool]


class ToneListener:
    """Finds key presses in frames of 20 ms.

    form: of the frames; on_key: called with each key, once a press.
    """

    __slots__ = ("_detector", "_gate", "_passed", "_previous", "_to_telephone")

    def __init__(self, form: AudioCodec, on_key: Callable[[str], None]) -> None:
        self._detector = InbandDtmf(on_key)
        self._gate = gate_for(form)
        self._to_telephone = converter(form, LINEAR[SAMPLE_RATE])
        self._passed = False  # whether the frame before may have been part of a key
        self._previous = form.silence

    def hear(self, frame: bytes) -> None:
        """Take a frame; one is listened to that may be part of a key, or follow a part of one."""
        passes = self._gate(frame)
        if passes and not self._passed:
            self._detector.resume(self._to_telephone(self._previous))
        if passes or self._passed:
            self._detector.hear(self._to_telephone(frame))
        else:
            self._detector.skip()
        self._passed = passes
        self._previous = frame


def gate_for(form: AudioCodec) -> Gate:
    """Make a gate for frames in this form: G.711 or PCM16; in others every frame passes."""
    if form in (PCMU, PCMA):
        loud, above = LOUDNESS[form.name], _ABOVE_ZERO[form.name]

        def law_gate(frame: bytes) -> bool:
            return byte_sum(frame.translate(loud)) >= LEAST_LOUD_LAW and _crosses(frame.translate(above))

        return law_gate
    if form in LINEAR.values():
        step = 2 * form.sample_rate // SAMPLE_RATE

        def linear_gate(frame: bytes) -> bool:
            high = frame[1::step]
            return byte_sum(high.translate(_LOUD)) >= LEAST_LOUD_LINEAR and _crosses(high.translate(_ABOVE))

        return linear_gate
    return lambda frame: True


def _crosses(above: bytes) -> bool:
    return LEAST_CROSSINGS <= above.count(b"\x00\x01") <= MOST_CROSSINGS


def _above_zero(law: str) -> bytes:
    """For each code whether it is above zero."""
    pcm = memoryview(CODECS[law].decode(bytes(range(256))))
    return bytes(int.from_bytes(pcm[at : at + 2], "little", signed=True) > 0 for at in range(0, 512, 2))


_ABOVE_ZERO = {law: _above_zero(law) for law in CODECS}
_LOUD = bytes(high if high < 128 else 255 - high for high in range(256))
_ABOVE = bytes(high < 128 for high in range(256))

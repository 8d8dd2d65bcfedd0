"""What a caller says into the voicemail: on its way to the disk, and followed for where the voice ends."""

from __future__ import annotations

from collections.abc import Callable

from gateway.media.recorder import Recorder
from gateway.media.voice_activity import VoiceActivity


class MessageTake:
    """Hears one message, fifty frames a second of it.

    Args:
        recorder, activity: for frames of the same form.
        clock: seconds, those of `activity`.

    Attributes:
        voiced: frames up to the last one with voice in it; 0 if there was none.

    """

    __slots__ = ("_activity", "_clock", "_heard", "_recorder", "voiced")

    def __init__(self, recorder: Recorder, activity: VoiceActivity, clock: Callable[[], float]) -> None:
        self._recorder = recorder
        self._activity = activity
        self._clock = clock
        self._heard = 0
        self.voiced = 0

    def hear(self, frame: bytes) -> None:
        """Take one frame."""
        self._recorder.write(frame)
        now = self._clock()
        self._activity.hear(frame, now)
        self._heard += 1
        if not self._activity.silence(now):
            self.voiced = self._heard

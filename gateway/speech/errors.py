"""What can go wrong when text is to be spoken."""

from __future__ import annotations


class SpeechError(Exception):
    """An engine cannot be used or has failed; the text names the configuration key that helps."""


class UnspeakableTextError(SpeechError):
    """Nothing in this text can be spoken: its author's fault, not the engine's; trying again is no use."""

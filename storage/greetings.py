"""Where greetings are in a store: what the API puts there, and gateways fetch."""

from __future__ import annotations


def greeting_key(greeting_id: str) -> str:
    """The key of a greeting's audio, a WAV file of PCM16 mono 8 kHz. It never changes under one id."""
    return f"greetings/{greeting_id}.wav"

"""Speech engines: what one is, and how the configuration names them."""

from __future__ import annotations

from typing import Protocol

from gateway.speech.errors import SpeechError


class Engine(Protocol):
    """Turns text into telephone audio.

    Attributes:
        name: as in the configuration; safe for logs and metric labels.
        identity: everything that makes one rendering differ from another (engine, voice, rate, …), without
            secrets; cached audio is filed under it.
        concurrency: renderings that may run at once.

    """

    name: str
    identity: str
    concurrency: int

    async def render(self, text: str) -> bytes:
        """Speak the text: PCM16 mono 8 kHz. The same text gives the same audio where the engine allows it.

        Raises:
            UnspeakableTextError: there is nothing to speak in it.
            SpeechError: the engine is missing, failed or took too long.

        """

    async def close(self) -> None:
        """Let go of connections and threads. Idempotent."""


ENGINES = ("espeak", "flite", "http")


def make_engine(
    name: str,
    *,
    voice: str = "",
    words_per_minute: int = 160,
    url: str = "",
    key: str = "",
    model: str = "",
    timeout: float = 15.0,
) -> Engine:
    """The engine that ``speech.engine`` names. Nothing is loaded or contacted before the first rendering.

    Args:
        name: one of `ENGINES`.
        voice: the engine's name of a voice; empty for its default.
        words_per_minute: speaking rate; espeak only.
        url: of the HTTP endpoint, without the path ``/v1/audio/speech``.
        key: its bearer token, or empty.
        model: as the endpoint names it.
        timeout: seconds that one rendering may take.

    Raises:
        SpeechError: an unknown name, or a setting that the engine needs is missing.

    """
    if name == "espeak":
        from gateway.speech.espeak import EspeakEngine  # the library is loaded only where it is used

        return EspeakEngine(voice or "en-us", words_per_minute=words_per_minute, timeout=timeout)
    if name == "flite":
        from gateway.speech.flite import FliteEngine

        return FliteEngine(voice or "slt", timeout=timeout)
    if name == "http":
        from gateway.speech.http import HttpEngine

        if not url:
            raise SpeechError("speech.engine is http, so speech.url must say where the endpoint is")
        return HttpEngine(url, key=key, model=model, voice=voice, timeout=timeout)
    raise SpeechError(f"speech.engine = {name!r} is none of {', '.join(ENGINES)}")

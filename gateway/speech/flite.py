"""CMU Flite, the Debian package `flite`: a small binary with a better voice than eSpeak's."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.speech.audio import decode_wav
from gateway.speech.errors import SpeechError
from gateway.speech.text import speakable

VOICES = frozenset({"awb", "awb_time", "kal", "kal16", "rms", "slt"})
"""Those compiled in. Any other name would be opened as a file or a URL by flite, or silently replaced."""


class FliteEngine:
    """See `Engine`. The voice is one of `VOICES`.

    Raises:
        SpeechError: an unknown voice.

    """

    name = "flite"
    concurrency = 2

    def __init__(self, voice: str = "slt", *, timeout: float = 15.0, binary: str = "flite") -> None:
        if voice not in VOICES:
            raise SpeechError(f"speech.voice = {voice!r}: flite has {', '.join(sorted(VOICES))}")
        self.identity = f"flite:{voice}"
        self._voice = voice
        self._timeout = timeout
        self._binary = binary

    async def render(self, text: str) -> bytes:
        """See `Engine.render`."""
        return await asyncio.to_thread(self._render, speakable(text))

    async def close(self) -> None:
        """Nothing to let go of."""

    def _render(self, text: str) -> bytes:
        """Run the binary, in a thread: starting a process can stall an event loop for milliseconds.

        The text goes by way of a private file, since arguments can be read by every user of the machine.
        """
        with TemporaryDirectory(prefix="voice-gateway-") as directory:
            source, target = Path(directory, "text"), Path(directory, "audio.wav")
            source.write_text(text, encoding="utf-8")
            command = [self._binary, "-voice", self._voice, "-f", str(source), "-o", str(target)]
            try:
                subprocess.run(  # noqa: S603 - a fixed command; the text is not part of it
                    command, check=True, capture_output=True, timeout=self._timeout
                )
                return decode_wav(target.read_bytes())
            except FileNotFoundError as error:
                raise SpeechError("flite is not installed; see speech.engine") from error
            except subprocess.TimeoutExpired as error:
                raise SpeechError(f"flite took longer than {self._timeout:g} s; see speech.engine") from error
            except (OSError, subprocess.CalledProcessError) as error:
                raise SpeechError(f"flite failed ({type(error).__name__}); see speech.engine") from error

"""eSpeak NG in this process: the wheel `espeakng-loader` brings library and voices, ctypes calls them.

The library has one global state, so one thread makes all calls, for all engines. It speaks a sentence in
milliseconds; ctypes lets go of the interpreter meanwhile.
"""

from __future__ import annotations

import _ctypes
import asyncio
import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from gateway.speech.audio import resample
from gateway.speech.errors import SpeechError
from gateway.speech.text import speakable

# Values from eSpeak NG's speak_lib.h.
_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_BY_CHARACTER = 1
_UTF8 = 1
_END_PAUSE = 0x1000
_RATE = 1
_OK = 0

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="espeak")


def _speak(text: str, voice: str, words_per_minute: int) -> bytes:
    """Speak with a library loaded afresh and unloaded again: two milliseconds more.

    Its synthesiser keeps state in static variables that no call resets, so that one text sounds a little
    different each time; in a fresh library the same text gives the same samples, always.
    """
    try:
        import espeakng_loader

        library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = str(espeakng_loader.get_data_path())
    except (ImportError, OSError) as error:
        raise SpeechError(f"eSpeak NG cannot be loaded ({error}); see speech.engine") from error
    try:
        return _utter(library, data, text, voice, words_per_minute)
    finally:
        library.espeak_Terminate()
        _ctypes.dlclose(library._handle)


def _utter(library: ctypes.CDLL, data: str, text: str, voice: str, words_per_minute: int) -> bytes:
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _DONT_EXIT)
    if rate <= 0:
        raise SpeechError(f"eSpeak NG finds no voices in {data}; see speech.engine")
    audio = bytearray()

    def collect(samples: Any, count: int, events: int | None) -> int:
        if samples and count > 0:
            audio.extend(ctypes.string_at(samples, 2 * count))
        return 0  # go on

    callback = _Callback(collect)  # held while the library has a pointer to it
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()) != _OK:
        raise SpeechError(f"eSpeak NG has no voice {voice!r}; see speech.voice")
    library.espeak_SetParameter(_RATE, words_per_minute, 0)
    encoded = text.encode() + b"\0"
    status = library.espeak_Synth(
        encoded, ctypes.c_size_t(len(encoded)), 0, _BY_CHARACTER, 0, _UTF8 | _END_PAUSE, None, None
    )
    if status != _OK:
        raise SpeechError(f"eSpeak NG failed with status {status}; see speech.engine")
    return resample(bytes(audio), rate)


class EspeakEngine:
    """See `Engine`.

    Args:
        voice: an eSpeak NG name such as ``en-us`` or ``de``, optionally with a variant (``en-us+f3``).
        words_per_minute: speaking rate.
        timeout: seconds for one rendering, waiting for others included.

    """

    name = "espeak"
    concurrency = 1

    def __init__(self, voice: str = "en-us", *, words_per_minute: int = 160, timeout: float = 15.0) -> None:
        self.identity = f"espeak:{voice}:{words_per_minute}"
        self._speak = partial(_speak, voice=voice, words_per_minute=words_per_minute)
        self._timeout = timeout

    async def render(self, text: str) -> bytes:
        """See `Engine.render`."""
        clean = speakable(text)
        try:
            async with asyncio.timeout(self._timeout):
                pcm = await asyncio.get_running_loop().run_in_executor(_thread, self._speak, clean)
        except TimeoutError as error:
            raise SpeechError(f"eSpeak NG took longer than {self._timeout:g} s; see speech.engine") from error
        if not pcm:
            raise SpeechError("eSpeak NG returned no audio; see speech.voice")
        return pcm

    async def close(self) -> None:
        """Nothing to let go of: the library stays loaded for other engines."""

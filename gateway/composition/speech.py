"""What callers of the voicemail hear: text that is spoken, and greetings out of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from gateway.composition.background import Background
from gateway.config import Settings
from gateway.faults import StartError
from gateway.media.g711 import CODECS
from gateway.recordings_place import open_store
from gateway.speech.cache import MEMORY_BYTES, SpeechCache
from gateway.speech.engine import Engine, make_engine
from gateway.stored_greetings import StoredGreetings
from routing.message_variables import MARK
from routing.models import Agent, PhoneNumber
from storage.objects import ObjectStore, StorageError

PERSONAL_BYTES: Final = 8 * 1024 * 1024
"""Of messages that name their caller: they are wanted again only if the same caller tries again."""

log = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Speech:
    """What speaks.

    store: of finished recordings and of greetings.
    spoken: texts that many callers hear; personal: those that name their caller.
    greetings: recordings that were uploaded.
    """

    store: ObjectStore
    spoken: SpeechCache
    personal: SpeechCache
    greetings: SpeechCache

    def prepare(self, numbers: Sequence[PhoneNumber], agents: Sequence[Agent]) -> None:
        """Have voicemail messages spoken, and greetings fetched, before anybody calls."""
        for each in (*agents, *(number.inbound_routing for number in numbers)):
            if each is None:
                continue
            if each.voicemail_message and MARK not in each.voicemail_message:
                self.spoken.prerender(each.voicemail_message)
            if each.voicemail_greeting:
                self.greetings.prerender(each.voicemail_greeting)


async def start_speech(settings: Settings, background: Background) -> Speech:
    """As configured.

    Raises:
        StartError: the store cannot be used.
        SpeechError: the engine cannot.

    """
    directory, engine = settings.data.dir, configured_engine(settings)
    try:
        store = await asyncio.to_thread(open_store, settings)
    except StorageError as error:
        raise StartError(f"storage.url: {error}") from error
    background.push_async_callback(store.close)
    started = Speech(
        store,
        await _start_cache(background, engine, directory / "speech"),
        await _start_cache(background, engine, None, PERSONAL_BYTES),
        await _start_cache(background, StoredGreetings(store), directory / "greetings"),
    )
    started.spoken.prerender(settings.voicemail.default_message)
    return started


def configured_engine(settings: Settings) -> Engine:
    """The engine of `[speech]`; nothing is loaded or contacted yet. Raises SpeechError."""
    speech = settings.speech
    return make_engine(
        speech.engine,
        voice=speech.voice,
        url=speech.url,
        key=speech.api_key.get_secret_value(),
        model=speech.model,
        timeout=speech.timeout,
    )


async def _start_cache(
    background: Background, engine: Engine, directory: Path | None, memory_bytes: int = MEMORY_BYTES
) -> SpeechCache:
    cache = SpeechCache(
        engine,
        directory,
        encoders={name: codec.frames for name, codec in CODECS.items()},
        memory_bytes=memory_bytes,
        on_error=lambda name, error: log.error("speech failed", engine=name, error=str(error)),
    )
    await cache.start()
    background.push_async_callback(cache.close)
    return cache

"""What a caller hears before the tone: an uploaded greeting, or text with the call's own words in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from gateway.destinations.attending import attended
from gateway.destinations.base import Call
from gateway.speech.cache import SpeechCache
from gateway.speech.message import RenderedMessage
from gateway.speech.numbers import spoken_number
from routing.message_variables import MARK, filled, names
from routing.plan import VoicemailDestination

log = structlog.get_logger("calls")

RENDER_PATIENCE = 3.0
"""Seconds that a caller rings on for a message that is not rendered yet; then the default one is spoken."""

FETCH_PATIENCE = 1.0
"""Seconds that a caller rings on for a greeting that is not here yet; then the text is spoken."""


def _uncounted(result: str) -> None:
    """What happens to counts that nobody asked for."""


@dataclass(frozen=True, slots=True)
class VoicemailMessages:
    """Where messages come from; one for the whole gateway.

    speech: renders text.
    personal: renders text that names the caller, and keeps it in memory alone; None: `speech` does.
    greetings: has uploaded audio by id; None if there is no store of it.
    withheld_caller: spoken in place of a number that is withheld, or none.
    on_greeting: counts: `played` or `missing`.
    """

    speech: SpeechCache
    personal: SpeechCache | None = None
    greetings: SpeechCache | None = None
    withheld_caller: str = "an unknown caller"
    on_greeting: Callable[[str], None] = _uncounted

    async def message(self, call: Call, wanted: VoicemailDestination) -> RenderedMessage:
        """What a call's voicemail says. Raises CallerLeft."""
        if wanted.greeting is not None:
            greeting = await self._greeting(call, wanted.greeting)
            if greeting is not None:
                return greeting
        text, speech = wanted.message, self.speech
        if MARK in text:
            if "caller" in names(text) and self.personal is not None:
                speech = self.personal
            text = self._filled(call, wanted)
        return await had(call, speech, text, RENDER_PATIENCE)

    async def _greeting(self, call: Call, greeting_id: str) -> RenderedMessage | None:
        """The audio; None if it cannot be had."""
        audio = None
        if self.greetings is not None:
            audio = await had(call, self.greetings, greeting_id, FETCH_PATIENCE)
        if audio is None or audio.is_default:
            self.on_greeting("missing")
            log.warning("greeting not there: its text is spoken", greeting_id=greeting_id)
            return None
        self.on_greeting("played")
        return audio

    def _filled(self, call: Call, wanted: VoicemailDestination) -> str:
        return filled(
            wanted.message,
            {
                "caller": spoken_number(call.caller_number, call.dialled) or self.withheld_caller,
                "dialled": spoken_number(call.dialled, call.dialled) or "",
                "agent": wanted.agent_name,
            },
        )


async def had(call: Call, cache: SpeechCache, text: str, patience: float) -> RenderedMessage:
    """A message, or the default one after so many seconds. Raises CallerLeft."""
    message = cache.get_nowait(text)
    if message is not None:
        return message
    deadline = call.now() + patience + 1  # get() itself never takes longer than it is told
    return await attended(call, cache.get(text, patience), deadline)

"""What a caller is told before anybody takes the call: that it is recorded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from gateway.destinations.base import Call, Declined
from gateway.destinations.terminating import Terms, answer_here, negotiate
from gateway.destinations.voicemail_message import RENDER_PATIENCE, had
from gateway.media.g711 import CODECS
from gateway.media.session import AudioSession
from gateway.speech.cache import SpeechCache
from gateway.speech.message import RenderedMessage

MESSAGE_PATIENCE: Final = 600.0
"""Seconds that a message may take; longer than any, so that nothing can stall a call here."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A text that callers hear before their call goes on.

    speech: renders it.
    """

    text: str
    speech: SpeechCache

    async def rendered(self, call: Call) -> RenderedMessage | None:
        """Its audio; None if it cannot be had, since the default message says something else.

        Raises:
            CallerLeft: meanwhile.

        """
        message = await had(call, self.speech, self.text, RENDER_PATIENCE)
        return None if message.is_default else message


async def announce(call: Call, message: RenderedMessage) -> Declined | None:
    """Answer the caller and speak; Declined if the caller cannot be answered here.

    Raises:
        CallerLeft: meanwhile.

    """
    terms = await answer_here(call)
    if not isinstance(terms, Terms):
        return terms
    audio = AudioSession(
        call.audio.open_port(), terms.codec, terms.payload_type, terms.dtmf_payload_type, clock=call.now
    )
    try:
        await heard_out(call, terms, play(audio, terms, message))
    finally:
        audio.detach()
    return None


def play(audio: AudioSession, terms: Terms, message: RenderedMessage) -> asyncio.Future[bool]:
    """Play a message, as it was encoded beforehand if the caller speaks such a codec."""
    if terms.codec.name in CODECS:
        return audio.play_frames(message.encoded(terms.codec.name))
    return audio.play(message.pcm)  # each frame is encoded when it is due


async def heard_out(call: Call, terms: Terms, sound: asyncio.Future[bool]) -> None:
    """Until a sound, and whatever was queued before it, has been heard. Raises CallerLeft."""
    sound.add_done_callback(call.deliver)
    deadline = call.now() + MESSAGE_PATIENCE
    while not sound.done():
        event = await call.next_event(deadline)
        if event is None:
            return
        negotiate(call, terms, event)

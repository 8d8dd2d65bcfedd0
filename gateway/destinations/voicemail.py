"""The last destination: answer, speak the message, sound the tone, record the caller."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.destinations.attending import attended
from gateway.destinations.base import Call, CallerLeft, Declined, Finished, Outcome, Tried
from gateway.destinations.terminating import Terms, answer_here, obstacle
from gateway.destinations.voicemail_outbox import VoicemailOutbox
from gateway.destinations.voicemail_session import VoicemailSession
from gateway.media.disk import Disk
from gateway.speech.cache import SpeechCache
from gateway.speech.message import RenderedMessage

RENDER_PATIENCE = 3.0
"""Seconds that a caller rings on for a message that is not rendered yet; then the default one is spoken."""


def _ignore(error: Exception) -> None:
    """What happens to errors that nobody asked for."""


def _uncounted(frames: int) -> None:
    """What happens to counts that nobody asked for."""


def _unheard(path: Path) -> None:
    """What happens to recordings that nobody waits for."""


@dataclass(frozen=True, slots=True)
class VoicemailBox:
    """What every voicemail needs; one for the whole gateway.

    speech: where messages come from.
    directory: where recordings go, one directory a day.
    max_seconds: of one recording.
    silence_seconds: of silence that end a recording; 0 for never.
    finish_key: ends a recording; empty for none.
    min_seconds: of voice; a message with less is too short.
    outbox: brings messages to the API; None if there is none.
    on_error: hears of a disk that did not take a recording.
    on_recorded: takes each recording that is finished, its record beside it.
    disk: where recordings are written; by default each has one of its own.
    min_free: bytes that stay free on the disk; below it nothing is recorded.
    on_underruns: hears how many frames of a message were sent late.
    wall_clock: seconds since the epoch, for the record and file names.
    """

    speech: SpeechCache
    directory: Path
    max_seconds: float = 180.0
    silence_seconds: float = 5.0
    finish_key: str = "#"
    min_seconds: float = 1.0
    outbox: VoicemailOutbox | None = None
    on_error: Callable[[Exception], None] = _ignore
    on_underruns: Callable[[int], None] = _uncounted
    wall_clock: Callable[[], float] = time.time
    on_recorded: Callable[[Path], None] = _unheard
    disk: Disk | None = None
    min_free: int = 0


class Voicemail:
    """A destination: one message, spoken to one caller.

    Args:
        records: whether the caller is recorded after it; else that is all, and goodbye.

    """

    __slots__ = ("_box", "_message", "_records", "name", "role")

    def __init__(self, message: str, box: VoicemailBox, *, records: bool = True) -> None:
        self._records = records
        self.name = self.role = "voicemail"
        self._message = message
        self._box = box

    def obstacle(self, call: Call) -> Declined | None:
        """A port is needed, and an offer without SRTP that has a codec of ours."""
        return obstacle(call)

    async def take(self, call: Call) -> Outcome:
        """Answer, speak and record until the caller hangs up, presses ``#``, falls silent, or time is up."""
        began = call.now()
        message = await self._rendered(call)
        terms = await answer_here(call)
        if not isinstance(terms, Terms):
            call.tried.append(Tried(self.name, "", terms.reason, call.now() - began))
            return terms
        call.tried.append(Tried(self.name, "", "answered", call.now() - began))
        session = VoicemailSession(call, terms, self._box)
        try:
            ending = Finished(await session.run(message, records=self._records))
        except CallerLeft as left:
            ending = Finished(left.cause, left.status)
        finally:
            await session.close()
        return ending

    async def _rendered(self, call: Call) -> RenderedMessage:
        speech = self._box.speech
        message = speech.get_nowait(self._message)
        if message is not None:
            return message
        patience = call.now() + RENDER_PATIENCE + 1  # get() itself never takes longer than it is told
        return await attended(call, speech.get(self._message, RENDER_PATIENCE), patience)

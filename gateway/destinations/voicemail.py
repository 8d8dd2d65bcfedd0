"""The last destination: answer, speak the message, sound the tone, record the caller."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.destinations.base import Call, CallerLeft, Declined, Finished, Outcome, Tried
from gateway.destinations.terminating import Terms, answer_here, obstacle
from gateway.destinations.voicemail_message import VoicemailMessages
from gateway.destinations.voicemail_outbox import VoicemailOutbox
from gateway.destinations.voicemail_session import VoicemailSession
from gateway.media.disk import Disk
from routing.plan import VoicemailDestination


def _ignore(error: Exception) -> None:
    """What happens to errors that nobody asked for."""


def _uncounted(frames: int) -> None:
    """What happens to counts that nobody asked for."""


def _unheard(path: Path) -> None:
    """What happens to recordings that nobody waits for."""


@dataclass(frozen=True, slots=True)
class VoicemailBox:
    """What every voicemail needs; one for the whole gateway.

    messages: what callers hear before the tone.
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

    messages: VoicemailMessages
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
        wanted: what is said.
        records: whether the caller is recorded after it; else that is all, and goodbye.

    """

    __slots__ = ("_box", "_records", "_wanted", "name", "role")

    def __init__(self, wanted: VoicemailDestination, box: VoicemailBox, *, records: bool = True) -> None:
        self._records = records
        self.name = self.role = "voicemail"
        self._wanted = wanted
        self._box = box

    def obstacle(self, call: Call) -> Declined | None:
        """A port is needed, and an offer without SRTP that has a codec of ours."""
        return obstacle(call)

    async def take(self, call: Call) -> Outcome:
        """Answer, speak and record until the caller hangs up, presses ``#``, falls silent, or time is up."""
        began = call.now()
        message = await self._box.messages.message(call, self._wanted)
        terms = await answer_here(call)
        if not isinstance(terms, Terms):
            call.tried.append(Tried(self.name, "", terms.reason, call.now() - began))
            return terms
        call.tried.append(Tried(self.name, "", "answered", call.now() - began))
        call.taken()
        session = VoicemailSession(call, terms, self._box)
        try:
            ending = Finished(await session.run(message, records=self._records))
        except CallerLeft as left:
            ending = Finished(left.cause, left.status)
        finally:
            await session.close()
        return ending

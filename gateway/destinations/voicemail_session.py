"""One caller in the voicemail: message, tone, recording, and the record of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from gateway.destinations.announcement import heard_out, play
from gateway.destinations.base import Call
from gateway.destinations.info_keys import key_in
from gateway.destinations.terminating import Terms, negotiate
from gateway.destinations.voicemail_record import make_record, new_message, recording_path, write_record
from gateway.media.codecs import LINEAR, PCMA, PCMU
from gateway.media.g711 import FRAME_BYTES, SAMPLE_RATE
from gateway.media.loudness import magnitude_of
from gateway.media.message_take import MessageTake
from gateway.media.recorder import Recorder, Recording
from gateway.media.session import AudioSession
from gateway.media.tones import beep, silence
from gateway.media.voice_activity import VoiceActivity
from gateway.media.wav_file import shorten
from gateway.sip.events import InfoReceived
from gateway.speech.message import RenderedMessage
from routing.call_events import VoicemailCreated

if TYPE_CHECKING:
    from gateway.destinations.voicemail import VoicemailBox

PAUSE = 0.2
"""Seconds between message and tone."""

BYTES_PER_SECOND = 2 * SAMPLE_RATE
"""Of a recording: PCM16 mono."""

TAIL_BYTES = BYTES_PER_SECOND // 2
"""Kept after the last voice: half a second, in which the last syllable fades."""

ROUNDING = 0.001
"""Seconds by which a timer and the sum of two times may differ."""


@dataclass(frozen=True, slots=True)
class _KeyPressed:
    """The caller pressed a key."""

    key: str


class _RecordingFull:
    """The recording has reached its limit."""


class VoicemailSession:
    """From the caller's ACK to the record on disk.

    Args:
        terms: what was agreed with the caller, whose audio port this session uses and leaves open.

    """

    def __init__(self, call: Call, terms: Terms, box: VoicemailBox) -> None:
        self._call = call
        self._terms = terms
        self._box = box
        self._answered_at = box.wall_clock()
        self._recorder: Recorder | None = None
        self._message: VoicemailCreated | None = None
        self._activity = VoiceActivity(call.now())
        self._take: MessageTake | None = None
        self._cause = "caller left during the message"
        # A law of G.711 stays as it comes until it is written, many frames at a time.
        self._form = terms.codec if terms.codec in (PCMU, PCMA) else LINEAR[SAMPLE_RATE]
        self._audio = AudioSession(
            call.audio.open_port(),
            terms.codec,
            terms.payload_type,
            terms.dtmf_payload_type,
            continuous=True,
            form=self._form,
            clock=call.now,
        )

    async def run(self, message: RenderedMessage, *, records: bool = True) -> str:
        """Speak and record; what ended it.

        records: False: only speak.

        Raises:
            CallerLeft: that ended it.

        """
        play(self._audio, self._terms, message)
        self._call.observe("voicemail_start", self._call.now() - self._terms.acknowledged_at)
        if not records:
            await heard_out(self._call, self._terms, self._audio.play(silence(PAUSE)))
            self._cause = "nothing is recorded"
            return self._cause
        await heard_out(self._call, self._terms, self._audio.play(silence(PAUSE) + beep()))
        self._cause = "caller hung up"
        self._cause = await self._record()
        return self._cause

    async def close(self) -> None:
        """Say goodbye, then put the record beside the recording. The caller does not wait for the disk."""
        self._audio.detach()
        self._box.on_underruns(self._audio.underruns)
        self._call.caller.hangup()
        if self._recorder is not None:
            recording = await self._recorder.close()
            recording = await self._trimmed(recording)
            record = make_record(
                self._call,
                recording,
                answered_at=self._answered_at,
                ended_at=self._box.wall_clock(),
                ended_by=self._cause,
            )
            try:
                await asyncio.to_thread(write_record, record, recording.path)
            except OSError as error:
                self._box.on_error(error)
            else:
                self._box.on_recorded(recording.path)
            await self._deliver(recording.seconds)

    async def _trimmed(self, recording: Recording) -> Recording:
        """The recording without the silence at its end.

        A message without any voice stays as it is: who speaks too softly for us may be understood by people.
        """
        voiced = self._take.voiced * FRAME_BYTES if self._take is not None else 0
        keep = voiced + TAIL_BYTES
        seconds = keep / BYTES_PER_SECOND
        if not voiced or seconds >= recording.seconds:
            return recording
        try:
            await asyncio.to_thread(shorten, recording.path, keep)
        except OSError as error:
            self._box.on_error(error)
            return recording
        return replace(recording, seconds=seconds)

    async def _deliver(self, seconds: float) -> None:
        if self._box.outbox is None or self._message is None:
            return
        voiced = self._activity.voiced_seconds
        message = msgspec.structs.replace(
            self._message,
            duration_seconds=round(seconds, 3),
            speech_seconds=round(voiced, 3),
            too_short=voiced < self._box.min_seconds,
        )
        await self._box.outbox.finished(message)

    async def _record(self) -> str:
        call, limit = self._call, self._box.silence_seconds
        self._activity = activity = VoiceActivity(call.now(), magnitude_of(self._form))
        path = recording_path(self._box.directory, self._answered_at, call.id)
        self._recorder = recorder = Recorder(
            path,
            max_seconds=self._box.max_seconds,
            form=self._form,
            on_full=lambda: call.deliver(_RecordingFull()),
            on_error=self._box.on_error,
            min_free=self._box.min_free,
            disk=self._box.disk,
        )

        if self._box.outbox is not None:
            place = path.relative_to(self._box.directory).as_posix()
            self._message = new_message(call, place, self._answered_at)
            self._box.outbox.begun(self._message)

        self._take = MessageTake(recorder, activity, call.now)
        self._audio.on_audio = self._take.hear
        self._audio.on_dtmf = lambda key: call.deliver(_KeyPressed(key))
        ends_at = call.now() + self._box.max_seconds
        while True:
            quiet_at = call.now() - activity.silence(call.now()) + (limit or self._box.max_seconds)
            event = await call.next_event(min(quiet_at, ends_at))
            match event:
                case _KeyPressed() | InfoReceived():
                    key = event.key if isinstance(event, _KeyPressed) else key_in(event.request)
                    if key is not None and key == self._box.finish_key:
                        return f"caller pressed {key}"
                case _RecordingFull():
                    return "recording limit reached"
                case None if call.now() >= ends_at:
                    return "recording limit reached"
                case None if limit and activity.silence(call.now()) >= limit - ROUNDING:
                    return f"silence for {limit:g} s"
                case _:
                    negotiate(self._call, self._terms, event)

"""One caller in the voicemail: message, tone, recording, and the record of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.destinations.base import Call
from gateway.destinations.terminating import Terms, answer_change, follow_change
from gateway.media.recorder import Recorder, Recording
from gateway.media.session import AudioSession
from gateway.media.tones import beep, silence
from gateway.media.voice_activity import VoiceActivity
from gateway.sip.events import AckReceived, InfoReceived, ReinviteReceived
from gateway.sip.leg import Leg
from gateway.sip.message import Request
from gateway.sip.sdp import SdpError

if TYPE_CHECKING:
    from gateway.destinations.voicemail import VoicemailBox

PAUSE = 0.2
"""Seconds between message and tone, and between recording's end of a stalled caller's checks."""

ROUNDING = 0.001
"""Seconds by which a timer and the sum of two times may differ."""

MESSAGE_PATIENCE = 600.0
"""Seconds that message and tone may take; longer than any message, so that nothing can stall a call here."""


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
        self._started = box.wall_clock()
        self._recorder: Recorder | None = None
        self._cause = "caller left during the message"
        self._audio = AudioSession(
            call.audio.open_port(),
            terms.codec,
            terms.payload_type,
            terms.dtmf_payload_type,
            continuous=True,
            clock=call.now,
        )

    async def run(self, message: Iterable[bytes]) -> str:
        """Speak and record; what ended it.

        message: frames of 20 ms in the agreed codec.

        Raises:
            CallerLeft: that ended it.

        """
        self._audio.play_frames(message)
        self._call.observe("voicemail_start", self._call.now() - self._terms.acknowledged_at)
        await self._play_tone()
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
            try:
                await asyncio.to_thread(self._write_record, recording)
            except OSError as error:
                self._box.on_error(error)

    async def _play_tone(self) -> None:
        call = self._call
        tone = self._audio.play(silence(PAUSE) + beep())
        tone.add_done_callback(call.deliver)
        deadline = call.now() + MESSAGE_PATIENCE
        while not tone.done():
            event = await call.next_event(deadline)
            if event is None:
                return
            self._negotiate(event)

    async def _record(self) -> str:
        call, limit = self._call, self._box.silence_seconds
        activity = VoiceActivity(call.now())
        self._recorder = recorder = Recorder(
            self._path(),
            max_seconds=self._box.max_seconds,
            on_full=lambda: call.deliver(_RecordingFull()),
            on_error=self._box.on_error,
        )

        def hear(frame: bytes) -> None:
            recorder.write(frame)
            activity.hear(frame, call.now())

        self._audio.on_audio = hear
        self._audio.on_dtmf = lambda key: call.deliver(_KeyPressed(key))
        ends_at = call.now() + self._box.max_seconds
        while True:
            quiet_at = call.now() - activity.silence(call.now()) + (limit or self._box.max_seconds)
            event = await call.next_event(min(quiet_at, ends_at))
            match event:
                case _KeyPressed(key) if key == self._box.finish_key:
                    return f"caller pressed {key}"
                case InfoReceived() if _key_in(event.request) == (self._box.finish_key or "none"):
                    return f"caller pressed {self._box.finish_key}"
                case _RecordingFull():
                    return "recording limit reached"
                case None if call.now() >= ends_at:
                    return "recording limit reached"
                case None if limit and activity.silence(call.now()) >= limit - ROUNDING:
                    return f"silence for {limit:g} s"
                case _:
                    self._negotiate(event)

    def _negotiate(self, event: object) -> None:
        """Follow the caller's re-INVITEs; there is nobody behind us to ask (RFC 3264 §8)."""
        audio, caller = self._call.audio, self._call.caller
        match event:
            case ReinviteReceived() if event.leg is caller:
                self._answer_change(event.leg, event.request.body)
            case AckReceived() if event.leg is caller and event.body:
                try:
                    follow_change(audio, event.body)
                except SdpError:
                    return  # the session stays as it was

    def _answer_change(self, leg: Leg, offer: bytes) -> None:
        audio = self._call.audio
        if not offer:
            leg.answer_reinvite(audio.shown)
            return
        try:
            leg.answer_reinvite(answer_change(audio, self._terms, offer))
        except SdpError as error:
            leg.refuse_reinvite(error.status)

    def _path(self) -> Path:
        started = datetime.fromtimestamp(self._started, UTC)
        return self._box.directory / f"{started:%Y-%m-%d}" / f"{started:%H%M%S}-{self._call.id}.wav"

    def _write_record(self, recording: Recording) -> None:
        """What the operator finds beside the recording; written whole or not at all."""
        call = self._call
        record = {
            "call_id": call.id,
            "carrier": call.carrier,
            "caller": call.caller_number,
            "dialled": call.dialled,
            "answered_at": datetime.fromtimestamp(self._started, UTC).isoformat(),
            "ended_at": datetime.fromtimestamp(self._box.wall_clock(), UTC).isoformat(),
            "ended_by": self._cause,
            "recording": recording.path.name,
            "recorded_seconds": round(recording.seconds, 3),
            "recording_error": None if recording.error is None else str(recording.error),
            "tried": [asdict(tried) for tried in call.tried],
        }
        target = recording.path.with_suffix(".json")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_suffix(".draft")
        draft.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        draft.replace(target)


def _key_in(request: Request) -> str | None:
    """The key in an INFO: ``application/dtmf-relay`` (``Signal=#``) or ``application/dtmf`` (``#``)."""
    content_type = (request.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    text = request.body.decode("ascii", "replace").strip()
    if content_type == "application/dtmf":
        return text[:1] or None
    if content_type == "application/dtmf-relay":
        for line in text.splitlines():
            name, _, value = line.partition("=")
            if name.strip().lower() == "signal":
                return value.strip()[:1] or None
    return None

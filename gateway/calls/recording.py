"""Recording whole calls: from the answer to the goodbye, whoever takes the call meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gateway.calls.announcing import agent_of
from gateway.calls.records import CallRecord
from gateway.destinations.announcement import Announcement
from gateway.destinations.caller_audio import CallerAudio
from gateway.destinations.voicemail_record import recording_path, write_record
from gateway.media.codecs import AudioCodec, find
from gateway.media.consent_tone import ConsentTone
from gateway.media.disk import Disk
from gateway.media.recorder import Recording
from gateway.media.stereo_recorder import BEAT_SECONDS, STATIC, Side, StereoRecorder

LAST_WORDS_SECONDS: Final = 10.0
"""For recordings that are being finished when the gateway stops; what is on disk by then can be played."""


@dataclass(frozen=True, slots=True)
class CallRecordings:
    """What recordings of calls need; one for the whole gateway.

    directory: where they go, one directory a day.
    max_seconds: of one recording.
    min_free: bytes that stay free on the disk; below it nothing is recorded.
    consent_interval: seconds between tones; 0 for one at the beginning, None for none.
    on_error: hears of a disk that does not take a recording.
    on_recorded: takes each recording that is finished, its record beside it.
    announcement: that callers hear before they are recorded; None for none.
    finishing: tasks of those that are over and not on disk yet.
    clock: seconds; wall_clock: seconds since the epoch.
    """

    directory: Path
    disk: Disk
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    on_error: Callable[[Exception], None]
    on_recorded: Callable[[Path], None]
    max_seconds: float = 14_400.0
    min_free: int = 0
    consent_interval: float | None = None
    announcement: Announcement | None = None
    finishing: set[asyncio.Task[None]] = field(default_factory=set)

    async def close(self) -> None:
        """Wait for those that are being finished."""
        if self.finishing:
            await asyncio.wait(self.finishing, timeout=LAST_WORDS_SECONDS)


class CallRecording:
    """The recording of one call: a tap on the caller's port (`gateway.media.tapped_port.PacketTap`)."""

    __slots__ = (
        "_audio",
        "_began",
        "_call_id",
        "_recorder",
        "_recordings",
        "_started_at",
        "_tones",
    )

    def __init__(self, recordings: CallRecordings, call_id: str, audio: CallerAudio) -> None:
        self._recordings = recordings
        self._call_id = call_id
        self._audio = audio
        self._recorder: StereoRecorder | None = None
        self._began = self._started_at = 0.0
        interval = recordings.consent_interval
        self._tones: dict[Side, ConsentTone] = (
            {} if interval is None else {"caller": ConsentTone(interval), "agent": ConsentTone(interval)}
        )

    def begin(self) -> None:
        """The caller is answered. What was to be heard before is not recorded."""
        if self._recorder is not None:
            return
        common = self._recordings
        self._began = common.clock()
        self._started_at = common.wall_clock()
        self._recorder = StereoRecorder(
            recording_path(common.directory, self._started_at, f"{self._call_id}-call"),
            self._audio.codec_of,
            clock=common.clock,
            rate=self._rate(),
            max_seconds=common.max_seconds,
            min_free=common.min_free,
            on_error=common.on_error,
            disk=common.disk,
            phase=random.random() * BEAT_SECONDS,  # noqa: S311 - spreads work, keeps no secret
        )

    def from_caller(self, packet: bytes) -> bytes:
        """See `PacketTap`."""
        return self._pass("caller", packet)

    def to_caller(self, packet: bytes) -> bytes:
        """See `PacketTap`."""
        return self._pass("agent", packet)

    def end(self, record: CallRecord) -> None:
        """The call is over; the rest is written beside the loop."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            task = asyncio.get_running_loop().create_task(self._finish(recorder, record))
            self._recordings.finishing.add(task)
            task.add_done_callback(self._recordings.finishing.discard)

    def _pass(self, side: Side, packet: bytes) -> bytes:
        recorder = self._recorder
        if recorder is None:
            return packet
        if self._tones:
            packet = self._with_tone(side, packet)
        recorder.hear(side, packet)
        return packet

    def _with_tone(self, side: Side, packet: bytes) -> bytes:
        tone, now = self._tones[side], self._recordings.clock() - self._began
        if not tone.due(now) or len(packet) < 2:
            return packet
        payload_type = packet[1] & 0x7F
        codec: AudioCodec | None = STATIC.get(payload_type) or self._audio.codec_of(side, payload_type)
        return packet if codec is None else tone.replace(packet, codec, now)

    def _rate(self) -> int:
        """16 kHz where the caller speaks wideband."""
        agreed = self._audio.agreed()
        codec = find(agreed[0].name, agreed[0].clock_rate) if agreed is not None else None
        return 16_000 if codec is not None and codec.sample_rate > 8_000 else 8_000

    async def _finish(self, recorder: StereoRecorder, record: CallRecord) -> None:
        recording = await recorder.close()
        told = _told(record, recording, self._started_at, self._recordings.wall_clock())
        try:
            await self._recordings.disk.run(write_record, told, recording.path)
        except OSError as error:
            self._recordings.on_error(error)
        else:
            self._recordings.on_recorded(recording.path)


def _told(record: CallRecord, recording: Recording, answered_at: float, ended_at: float) -> dict[str, Any]:
    """What the operator finds beside the recording; times in RFC 3339, UTC."""
    return {
        "kind": "call",
        "call_id": record.call_id,
        "carrier": record.carrier,
        "caller": record.caller,
        "dialled": record.number or record.dialled,
        "answered_at": datetime.fromtimestamp(answered_at, UTC).isoformat(),
        "ended_at": datetime.fromtimestamp(ended_at, UTC).isoformat(),
        "ended_by": record.cause,
        "outcome": record.outcome,
        "agent_id": agent_of(record),
        "recording": recording.path.name,
        "channels": ["caller", "agent"],
        "recorded_seconds": round(recording.seconds, 3),
        "recording_error": None if recording.error is None else str(recording.error),
        "tried": [asdict(tried) for tried in record.tried],
    }

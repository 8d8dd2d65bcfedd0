"""What records: voicemails and calls, and what becomes of the files."""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from gateway.calls.announcing import recording_available
from gateway.calls.recording import CallRecordings
from gateway.composition.background import Background
from gateway.composition.call_events import CallEvents
from gateway.composition.speech import Speech
from gateway.config import Settings
from gateway.destinations.announcement import Announcement
from gateway.destinations.voicemail import VoicemailBox
from gateway.destinations.voicemail_message import VoicemailMessages
from gateway.media.disk import Disk
from gateway.recordings.retention import Limits, Swept, keep_swept
from gateway.recordings.shelf import Shelf
from gateway.recordings_place import local_directory
from gateway.speech.cache import SpeechCache
from gateway.telemetry.metrics import Metrics

log = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Recorders:
    """voicemail: takes messages; calls: records conversations."""

    voicemail: VoicemailBox
    calls: CallRecordings


def start_recorders(
    settings: Settings,
    speech: Speech,
    events: CallEvents | None,
    metrics: Metrics,
    background: Background,
    *,
    sweeps: bool,
) -> Recorders:
    """events: told of finished recordings; sweeps: clear away what is too old, and find what was left."""
    disk = Disk()
    shelf = _start_shelf(settings, speech, events, metrics, background, sweeps=sweeps)

    def failed(error: Exception) -> None:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        metrics.recordings.labels("disk_full" if full else "disk_failed").inc()
        log.error("recording failed", error=str(error), key="voicemail.directory")

    box = VoicemailBox(
        VoicemailMessages(
            speech.spoken,
            speech.personal,
            speech.greetings,
            settings.voicemail.withheld_caller,
            lambda result: metrics.greetings.labels(result).inc(),
        ),
        local_directory(settings),
        max_seconds=settings.voicemail.max_seconds,
        silence_seconds=settings.voicemail.silence_seconds,
        finish_key=settings.voicemail.finish_key,
        min_seconds=settings.voicemail.min_seconds,
        outbox=None if events is None else events.outbox,
        on_underruns=metrics.underruns.inc,
        on_error=failed,
        on_recorded=shelf.take,
        disk=disk,
        min_free=settings.recording.min_free_bytes,
    )
    recordings = CallRecordings(
        local_directory(settings),
        disk,
        clock=time.monotonic,
        wall_clock=time.time,
        on_error=failed,
        on_recorded=shelf.take,
        max_seconds=settings.dispatch.max_call_duration,
        min_free=settings.recording.min_free_bytes,
        consent_interval=_consent_interval(settings),
        announcement=_consent(settings.recording.consent_message, speech.spoken),
    )
    background.push_async_callback(recordings.close)
    return Recorders(box, recordings)


def _start_shelf(
    settings: Settings,
    speech: Speech,
    events: CallEvents | None,
    metrics: Metrics,
    background: Background,
    *,
    sweeps: bool,
) -> Shelf:
    """What happens to recordings when they are finished."""

    def available(key: str, record: dict[str, Any]) -> None:
        metrics.recordings.labels("stored").inc()
        if record.get("kind") == "call" and events is not None:
            events.writer.put(recording_available(key, record))

    def swept(result: Swept) -> None:
        metrics.recordings_swept(result.files, result.total_bytes, result.deleted, result.failed)

    shelf = Shelf(
        local_directory(settings),
        speech.store,
        looks=sweeps,
        form=settings.recording.format,
        on_available=available,
        on_waiting=metrics.recordings_waiting.set,
        on_failure=metrics.recordings.labels("upload_failed").inc,
    )
    background.push_async_callback(shelf.close)
    background.run(shelf.run, "recordings")
    if sweeps:
        limits = Limits(settings.recording.retention_days, settings.recording.max_total_bytes)
        background.run(partial(keep_swept, speech.store, limits, swept), "retention")
    return shelf


def _consent(text: str, spoken: SpeechCache) -> Announcement | None:
    """What callers are told before they are recorded; ready before anybody calls."""
    if not text:
        return None
    spoken.prerender(text)
    return Announcement(text, spoken)


def _consent_interval(settings: Settings) -> float | None:
    """Seconds between consent tones; 0 for one, None for none."""
    match settings.recording.consent_tone:
        case "off":
            return None
        case "tone":
            return 0.0
        case "repeat":
            return settings.recording.consent_interval

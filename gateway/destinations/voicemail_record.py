"""What the operator finds beside a recording: who called, when, and why no agent took the call."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.destinations.base import Call
from gateway.media.recorder import Recording
from routing.call_events import VOICEMAIL_PREFIX, VoicemailCreated, moment


def recording_path(directory: Path, answered_at: float, call_id: str) -> Path:
    """Where the recording of a call goes: one directory a day, in UTC.

    answered_at: seconds since the epoch.
    """
    began = datetime.fromtimestamp(answered_at, UTC)
    return directory / f"{began:%Y-%m-%d}" / f"{began:%H%M%S}-{call_id}.wav"


def make_record(
    call: Call, recording: Recording, *, answered_at: float, ended_at: float, ended_by: str
) -> dict[str, Any]:
    """The record of one recording; times are seconds since the epoch, written as RFC 3339 in UTC."""
    return {
        "kind": "voicemail",
        "call_id": call.id,
        "carrier": call.carrier,
        "caller": call.caller_number,
        "dialled": call.dialled,
        "answered_at": datetime.fromtimestamp(answered_at, UTC).isoformat(),
        "ended_at": datetime.fromtimestamp(ended_at, UTC).isoformat(),
        "ended_by": ended_by,
        "recording": recording.path.name,
        "recorded_seconds": round(recording.seconds, 3),
        "recording_error": None if recording.error is None else str(recording.error),
        "tried": [asdict(tried) for tried in call.tried],
    }


def new_message(call: Call, recording_key: str, answered_at: float) -> VoicemailCreated:
    """The message of a call whose recording begins.

    answered_at: seconds since the epoch.
    """
    agents = (tried.destination for tried in call.tried if tried.endpoint)
    return VoicemailCreated(
        id=f"evt_{VOICEMAIL_PREFIX}{call.id}",
        call_id=call.id,
        created_at=moment(answered_at),
        agent_id=next(agents, None),
        to_number=call.dialled,
        from_number=call.caller_number,
        carrier=call.carrier,
        voicemail_id=f"{VOICEMAIL_PREFIX}{call.id}",
        recording_key=recording_key,
        duration_seconds=0.0,
        speech_seconds=0.0,
        too_short=True,
    )


def write_record(record: dict[str, Any], path: Path) -> None:
    """Write it whole or not at all; blocking. Raises OSError.

    path: of the recording; the record has the same name with ``.json``.
    """
    target = path.with_suffix(".json")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".draft")
    draft.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    draft.replace(target)

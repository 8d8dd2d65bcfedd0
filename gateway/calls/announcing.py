"""Calls as events, for whoever keeps books of them outside of the gateway."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from gateway.calls.records import CallRecord
from gateway.recordings.names import recorded_at
from routing.call_events import CallEnded, CallFailed, CallStarted, Event, RecordingAvailable, moment

VOICEMAIL = "voicemail"
"""The destination that is no agent."""

FAILED = frozenset({"failed", "refused"})
"""Outcomes of calls that nobody took."""


class CallAnnouncer:
    """Tells of calls that have somebody to take them: unknown numbers are nobody's business.

    Args:
        put: takes each event, at once; must not raise.

    """

    def __init__(self, put: Callable[[Event], None]) -> None:
        self._put = put

    def started(self, record: CallRecord) -> None:
        """A call has a plan."""
        self._put(CallStarted(**_common(record, record.started_at)))

    def ended(self, record: CallRecord) -> None:
        """A call is over. The sink of records."""
        if not record.plan:
            return
        failed = record.outcome.removesuffix("_rescued") in FAILED
        kind = CallFailed if failed else CallEnded
        event = kind(
            **_common(record, record.started_at + record.seconds),
            status="failed" if failed else "completed",
            duration_seconds=round(record.seconds, 3),
            outcome=record.outcome,
            end_reason=record.cause,
        )
        self._put(event)


def recording_available(key: str, record: dict[str, Any]) -> RecordingAvailable:
    """The event of a whole call's recording that is in the store.

    record: what lies beside it; little, if the gateway was killed while it recorded. The event's id is made
    of the call's: however often it is told, it is the same.
    """
    call_id = str(record.get("call_id", ""))
    return RecordingAvailable(
        id=f"evt_recording_{call_id}",
        call_id=call_id,
        created_at=str(record.get("ended_at") or moment(recorded_at(key) or 0.0)),
        agent_id=record.get("agent_id"),
        to_number=str(record.get("dialled", "")),
        from_number=str(record.get("caller", "")),
        carrier=str(record.get("carrier", "")),
        recording_key=key,
        duration_seconds=float(record.get("recorded_seconds", 0.0)),
    )


def agent_of(record: CallRecord) -> str | None:
    """Who took the call; for one that went to voicemail or nowhere, whom it was meant for."""
    agents = [name for name in record.plan if name != VOICEMAIL]
    tried = [each.destination for each in record.tried if each.destination != VOICEMAIL]
    if record.outcome.startswith(("agent", "fallback")) and tried:
        return tried[-1]
    return agents[0] if agents else None


def _common(record: CallRecord, seconds: float) -> dict[str, Any]:
    return {
        "id": f"evt_{secrets.token_hex(8)}",
        "call_id": record.call_id,
        "created_at": moment(seconds),
        "agent_id": agent_of(record),
        "to_number": record.number or record.dialled,
        "from_number": record.caller,
        "carrier": record.carrier,
    }

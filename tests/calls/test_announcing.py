"""Calls as events."""

from __future__ import annotations

import pytest

from gateway.calls.announcing import CallAnnouncer, recording_available
from gateway.calls.records import CallRecord
from gateway.destinations.base import Tried
from routing.call_events import CallEnded, CallFailed, CallStarted, Event


def a_record(outcome: str = "", **fields) -> CallRecord:
    return CallRecord(
        call_id="c1",
        sip_call_id="x",
        carrier="twilio",
        caller="+14155550111",
        dialled="14155550100",
        started_at=1_700_000_000.5,
        number="+14155550100",
        plan=("agt_sales", "agt_overflow", "voicemail"),
        outcome=outcome,
        **fields,
    )


def told(record: CallRecord) -> list[Event]:
    events: list[Event] = []
    announcer = CallAnnouncer(events.append)
    announcer.started(record)
    announcer.ended(record)
    return events


@pytest.mark.parametrize(
    ("outcome", "tried", "kind", "agent"),
    [
        ("agent", ["agt_sales"], CallEnded, "agt_sales"),
        ("fallback", ["agt_sales", "agt_overflow"], CallEnded, "agt_overflow"),
        ("voicemail_rescued", ["agt_sales", "voicemail"], CallEnded, "agt_sales"),
        ("abandoned", [], CallEnded, "agt_sales"),
        ("failed", ["agt_sales"], CallFailed, "agt_sales"),
        ("refused", [], CallFailed, "agt_sales"),
    ],
)
def test_a_call_begins_and_ends(outcome: str, tried: list[str], kind: type, agent: str) -> None:
    record = a_record(outcome, seconds=12.25, cause="caller hung up")
    record.tried += [Tried(name, "", "200 OK", 0.1) for name in tried]
    first, last = told(record)
    assert isinstance(first, CallStarted)
    assert isinstance(last, kind)
    assert isinstance(last, CallEnded | CallFailed)
    assert (first.created_at, last.created_at) == ("2023-11-14T22:13:20.500Z", "2023-11-14T22:13:32.750Z")
    assert (last.agent_id, last.to_number, last.from_number) == (agent, "+14155550100", "+14155550111")
    assert (last.duration_seconds, last.end_reason, last.outcome) == (12.25, "caller hung up", outcome)
    assert last.status == ("failed" if kind is CallFailed else "completed")
    assert first.id != last.id


def test_nobody_hears_of_numbers_that_are_not_ours() -> None:
    record = a_record("refused")
    record.plan = ()
    events: list[Event] = []
    CallAnnouncer(events.append).ended(record)
    assert events == []


def test_a_recording_is_told_of_under_the_same_id_however_often() -> None:
    record = {
        "call_id": "c1",
        "ended_at": "2026-11-27T10:15:00+00:00",
        "agent_id": "agt_sales",
        "dialled": "+14155550100",
        "caller": "+14155550111",
        "carrier": "twilio",
        "recorded_seconds": 12.5,
    }
    key = "2026-11-27/101500-c1-call.wav"
    event = recording_available(key, record)
    assert event == recording_available(key, record)
    assert (event.recording_key, event.duration_seconds, event.agent_id) == (key, 12.5, "agt_sales")


def test_a_recording_that_a_killed_gateway_left_is_told_of_with_what_is_known() -> None:
    event = recording_available("2026-11-27/101500-c1-call.wav", {"call_id": "c1", "recorded_seconds": 3.0})
    assert event.created_at == "2026-11-27T10:15:00.000Z"
    assert (event.call_id, event.agent_id, event.to_number) == ("c1", None, "")

"""Calls as lines and fields of a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from gateway.calls.reasons import reason_of
from routing.call_records import CallShown

COLUMNS: Final = ("started", "carrier", "from", "to", "outcome", "status", "length", "MOS", "id")


def call_of(document: Any) -> CallShown:
    """A call as the API answered it; fields that are not known are passed over."""
    return msgspec.convert(document, CallShown)


def row(call: CallShown) -> tuple[object, ...]:
    """One line of `COLUMNS`."""
    return (
        call.started_at.replace("T", " ").removesuffix("Z"),
        call.carrier,
        call.caller or "withheld",
        call.number or call.dialled,
        call.outcome or call.state,
        call.status or "",
        length(call.seconds),
        "" if call.mos is None else f"{call.mos:.1f}",
        call.id,
    )


def fields(call: CallShown) -> Iterator[tuple[str, object]]:
    """All that is known of a call, but its moments and messages, which its trace has."""
    reason = reason_of(call)
    yield "call", call.id
    yield "why", reason.text
    yield "fix", reason.fix or None
    yield "started", call.started_at
    yield "length", length(call.seconds)
    yield "outcome", " ".join(filter(None, (call.outcome or call.state, str(call.status or ""), call.cause)))
    yield "carrier", f"{call.carrier}, from {call.source}"
    yield "carrier's id", call.carrier_call_id or None
    yield "from", call.caller or "withheld"
    yield "to", call.number or call.dialled
    yield "dialled", call.dialled if call.number and call.dialled != call.number else None
    yield "plan", " → ".join(call.plan) or None
    for tried in call.tried:
        endpoint = f" at {tried.endpoint}" if tried.endpoint else ""
        yield "tried", f"{tried.destination}{endpoint}: {tried.answer}, {tried.seconds * 1000:.0f} ms"
    for stage, seconds in call.stages.items():
        yield "stage", f"{stage}: {seconds * 1000:.1f} ms"
    for leg in call.legs:
        mos = "" if leg.mos is None else f", MOS {leg.mos:.2f}"
        yield (
            "audio",
            f"{leg.leg}: {leg.codec}, {leg.packets_in} packets in, {leg.packets_out} out, {leg.lost} lost,"
            f" jitter {leg.jitter * 1000:.1f} ms{mos}",
        )
    yield "node", call.node
    for call_id in call.sip_call_ids:
        yield "Call-ID", call_id


def length(seconds: float) -> str:
    """A duration for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

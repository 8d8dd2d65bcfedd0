"""One line a call: who called whom, what was tried, how it ended, how long each stage took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from gateway.telemetry.metrics import Metrics


class TriedLine(Protocol):
    """One destination that was tried."""

    @property
    def destination(self) -> str:
        """Agent id or ``voicemail``."""

    @property
    def endpoint(self) -> str:
        """URL, empty for voicemail."""

    @property
    def answer(self) -> str:
        """What came back."""

    @property
    def seconds(self) -> float:
        """Until it came back."""


class Summary(Protocol):
    """A call that is over, as the calls' room keeps it."""

    call_id: str
    sip_call_id: str
    carrier: str
    caller: str
    dialled: str
    number: str
    plan: tuple[str, ...]
    outcome: str
    status: int
    cause: str
    seconds: float
    stages: dict[str, float]

    @property
    def tried(self) -> Sequence[TriedLine]:
        """In order."""


class CallLog:
    """Logs and counts each call that is over."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._log = structlog.get_logger("calls")

    def __call__(self, record: Summary) -> None:
        """Take the record of a call."""
        self._metrics.call_ended(record.carrier, record.outcome, record.seconds)
        tried: list[dict[str, Any]] = [
            {
                "destination": each.destination,
                "endpoint": each.endpoint,
                "answer": each.answer,
                "ms": round(each.seconds * 1000, 1),
            }
            for each in record.tried
        ]
        self._log.info(
            "call ended",
            call_id=record.call_id,
            sip_call_id=record.sip_call_id,
            carrier=record.carrier,
            caller=record.caller,
            dialled=record.dialled,
            number=record.number,
            plan=record.plan,
            tried=tried,
            outcome=record.outcome,
            status=record.status,
            cause=record.cause,
            seconds=round(record.seconds, 3),
            stages_ms={name: round(seconds * 1000, 2) for name, seconds in record.stages.items()},
        )

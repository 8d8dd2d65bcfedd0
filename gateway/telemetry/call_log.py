"""One line a call: who called whom, what was tried, how it ended, how long each stage took."""

from __future__ import annotations

import logging
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


class LegLine(Protocol):
    """How the audio of one leg did; seconds."""

    @property
    def leg(self) -> str:
        """``caller``, or the agent's id."""

    @property
    def codec(self) -> str:
        """As SDP names it."""

    @property
    def packets_in(self) -> int:
        """RTP."""

    @property
    def packets_out(self) -> int:
        """RTP."""

    @property
    def lost(self) -> int:
        """Packets that did not reach us."""

    @property
    def jitter(self) -> float:
        """Of what reached us."""

    @property
    def round_trip(self) -> float | None:
        """To the peer and back."""

    @property
    def far_lost(self) -> int | None:
        """Packets that did not reach the peer, as it says."""

    @property
    def far_jitter(self) -> float | None:
        """Of what reached the peer, as it says."""

    @property
    def mos(self) -> float | None:
        """Of what reached us."""


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
    transfers: list[str]
    reason: str
    verstat: str

    @property
    def exemplar(self) -> dict[str, str] | None:
        """What leads to its trace; None if it is not traced."""

    @property
    def tried(self) -> Sequence[TriedLine]:
        """In order."""

    @property
    def legs(self) -> Sequence[LegLine]:
        """Those whose audio passed through us."""


class CallLog:
    """Logs and counts each call that is over."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._log = structlog.get_logger("calls").bind()  # now, and not again for each call

    def __call__(self, record: Summary) -> None:
        """Take the record of a call."""
        exemplar = record.exemplar
        self._metrics.call_ended(record.carrier, record.outcome, record.seconds, exemplar)
        if not self._log.is_enabled_for(logging.INFO):
            return
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
            **(exemplar or {}),
            outcome=record.outcome,
            **_if_any(transfers=record.transfers, reason=record.reason, verstat=record.verstat),
            status=record.status,
            cause=record.cause,
            seconds=round(record.seconds, 3),
            stages_ms={name: round(seconds * 1000, 2) for name, seconds in record.stages.items()},
            legs=[_leg(each) for each in record.legs],
            mos=min((round(leg.mos, 2) for leg in record.legs if leg.mos is not None), default=None),
        )


def _if_any(**fields: Any) -> dict[str, Any]:
    """What most calls have nothing of."""
    return {name: value for name, value in fields.items() if value}


def _leg(leg: LegLine) -> dict[str, Any]:
    """A leg as the log tells it; what the peer never reported is left out."""
    known = {
        "rtt_ms": _milliseconds(leg.round_trip),
        "far_lost": leg.far_lost,
        "far_jitter_ms": _milliseconds(leg.far_jitter),
        "mos": None if leg.mos is None else round(leg.mos, 2),
    }
    return {
        "leg": leg.leg,
        "codec": leg.codec,
        "packets_in": leg.packets_in,
        "packets_out": leg.packets_out,
        "lost": leg.lost,
        "jitter_ms": _milliseconds(leg.jitter),
        **{name: value for name, value in known.items() if value is not None},
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)

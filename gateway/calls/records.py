"""What is kept of a call when it is over, and who is told while it lasts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from gateway.destinations.base import Tried
from gateway.media.quality import LegQuality
from gateway.telemetry.spans import CallTrace
from routing.call_records import AudioSample, CallMoment


@dataclass(slots=True)
class CallRecord:
    """One call, as its summary line tells it. Numbers stand in fields of their own, to be masked there.

    call_id: ours; sip_call_id: the caller's leg's.
    caller, dialled: as the carrier wrote them; number: the route that was found, E.164.
    plan: names of the destinations in order; tried: what each answered, and how long that took.
    outcome: ``agent``, ``fallback``, ``voicemail`` (with ``_rescued`` when an agent was lost on the way),
        ``abandoned``, ``refused`` (nobody was tried) or ``failed`` (nobody took it).
    status: the final status that the caller got; cause: what ended the call.
    started_at: seconds since the epoch; seconds: from INVITE to goodbye.
    stages: seconds by stage, the names of ``gateway_call_stage_seconds``.
    legs: how the audio of each leg that passed through us did, the caller's last.
    transfers: what became of each REFER of an agent: ``completed``, ``returned`` (to the agent), ``failed``
        (the agent had gone meanwhile), ``abandoned`` (by the caller), ``refused``.
    reason: the Reason header of the goodbye (RFC 3326), if there was one.
    verstat: what the verification of the caller's PASSporT found (RFC 8224); empty where none was asked for.
    source: the address that the INVITE came from; carrier_call_id: the carrier's own name for the call.
    sip_call_ids: Call-IDs of all legs, the caller's first.
    rule: of `gateway.admission.limits`, if that refused the call.
    trace: the call as OpenTelemetry sees it; None if it is not traced.
    moments: what happened besides SIP messages; samples: what came from the caller over time.
    """

    call_id: str
    sip_call_id: str
    carrier: str
    caller: str
    dialled: str
    started_at: float
    number: str = ""
    plan: tuple[str, ...] = ()
    tried: list[Tried] = field(default_factory=list)
    outcome: str = ""
    status: int = 0
    cause: str = ""
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    legs: list[LegQuality] = field(default_factory=list)
    transfers: list[str] = field(default_factory=list)
    reason: str = ""
    verstat: str = ""
    source: str = ""
    carrier_call_id: str = ""
    sip_call_ids: list[str] = field(default_factory=list)
    rule: str = ""
    moments: list[CallMoment] = field(default_factory=list)
    samples: list[AudioSample] = field(default_factory=list)
    trace: CallTrace | None = None

    @property
    def exemplar(self) -> dict[str, str] | None:
        """What leads to its trace; None if it is not traced."""
        return None if self.trace is None else self.trace.exemplar


RecordSink: TypeAlias = Callable[[CallRecord], None]
"""Takes the record of each call that is over, once; logs and counts it."""


class CallObserver(Protocol):
    """Who counts. Called on the hot path, so it must be fast; it must not raise."""

    def stage(self, stage: str, seconds: float, exemplar: dict[str, str] | None = None) -> None:
        """One stage of a call took that long; exemplar: what leads to the call's trace, if it has one."""

    def leg_opened(self, leg: str) -> None:
        """A leg (``"caller"`` or ``"agent"``) is active."""

    def transferred(self, result: str) -> None:
        """A transfer came to its end; see `CallRecord.transfers`."""

    def leg_closed(self, leg: str) -> None:
        """A leg is not active any more."""

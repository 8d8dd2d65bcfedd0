"""A call as OpenTelemetry sees it: one trace, with a span for each thing that takes time.

    call                       from INVITE to goodbye
    ├─ admission               from the INVITE's arrival until it was answered 100
    ├─ lookup                  until the route was known
    ├─ destination agt_sales   for each that was tried, until it had declined, was lost, or the call was over
    ├─ media                   while the caller was answered
    └─ hang-up                 from the decision to end it until all was let go of

No span holds a telephone number or what was said. A call that is not traced has no `CallTrace`, so that a
gateway without tracing does nothing for it but ask whether there is one.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

from gateway.telemetry.call_log import LegLine, TriedLine

MAX_SPANS: Final = 100
"""Spans of one call; agents that send it on for ever do not fill our memory."""

Attribute: TypeAlias = str | int | float | bool
Kind: TypeAlias = Literal["internal", "server", "client"]


@dataclass(slots=True)
class Span:
    """One piece of a call.

    span_id, parent_id: 16 hexadecimal digits; a root has no parent.
    began, ended: seconds since the epoch; an `ended` of 0 goes on.
    failed: why it did not go well; empty if it did.
    events: seconds since the epoch, and what happened then.
    """

    name: str
    span_id: str
    parent_id: str
    began: float
    kind: Kind = "internal"
    ended: float = 0.0
    failed: str = ""
    attributes: dict[str, Attribute] = field(default_factory=dict)
    events: list[tuple[float, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Trace:
    """A call that is over. trace_id: 32 hexadecimal digits; spans: the root first."""

    trace_id: str
    spans: list[Span]


class Ended(Protocol):
    """What the record of a call tells of its end."""

    call_id: str
    sip_call_id: str
    carrier: str
    source: str
    outcome: str
    status: int
    cause: str

    @property
    def tried(self) -> Sequence[TriedLine]:
        """Attempts, in order."""

    @property
    def legs(self) -> Sequence[LegLine]:
        """Those whose audio passed through us."""


class CallTrace:
    """The trace of one call, while it is made.

    Args:
        now: seconds since the epoch, never going back within a call.
        admission: seconds from the INVITE's arrival until now.
        export: takes the trace when the call is over.

    """

    __slots__ = ("_destination", "_export", "_hanging_up", "_media", "_now", "_root", "_spans", "trace_id")

    def __init__(
        self, trace_id: str, now: Callable[[], float], admission: float, export: Callable[[Trace], None]
    ) -> None:
        self.trace_id = trace_id
        self._now = now
        self._export = export
        began = now()
        self._root = Span("call", _span_id(), "", began - admission, "server")
        self._spans = [self._root]
        self._destination: Span | None = None
        self._media: Span | None = None
        self._hanging_up: Span | None = None
        self._begin("admission", began - admission).ended = began

    @property
    def traceparent(self) -> str:
        """What tells an agent where its spans belong: below its destination (W3C Trace Context §3.2)."""
        parent = self._destination or self._root
        return f"00-{self.trace_id}-{parent.span_id}-01"

    @property
    def exemplar(self) -> dict[str, str]:
        """What leads from a bucket of a histogram to this trace."""
        return {"trace_id": self.trace_id}

    def looked_up(self, seconds: float) -> None:
        """The route is known, after that long."""
        now = self._now()
        self._begin("lookup", now - seconds).ended = now

    def tries(self, destination: str, role: str) -> None:
        """A destination is offered the call."""
        self.leaves("")
        span = self._destination = self._begin(f"destination {destination}", self._now(), "client")
        span.attributes["voice_gateway.destination"] = destination
        span.attributes["voice_gateway.role"] = role

    def leaves(self, reason: str) -> None:
        """The destination did not take the call, or lost it, for that reason; or without one, it is over."""
        span = self._destination
        if span is not None and not span.ended:
            span.ended, span.failed = self._now(), reason

    def answered(self) -> None:
        """The caller was answered."""
        self._media = self._begin("media", self._now())

    def hangs_up(self) -> None:
        """The call is to end."""
        self._hanging_up = self._begin("hang-up", self._now())

    def finish(self, record: Ended) -> None:
        """The call is over: whatever still goes on ends, and the trace is exported."""
        self.leaves("")
        now = self._now()
        root, destinations = self._root, dict[Attribute, Span]()
        for span in self._spans:
            span.ended = span.ended or now
            if "voice_gateway.destination" in span.attributes:
                destinations[span.attributes["voice_gateway.destination"]] = span
        root.attributes |= {
            "voice_gateway.call_id": record.call_id,
            "voice_gateway.carrier": record.carrier,
            "voice_gateway.outcome": record.outcome,
            "voice_gateway.cause": record.cause,
            "sip.call_id": record.sip_call_id,
            "sip.status_code": record.status,
            "network.peer.address": record.source,
        }
        if record.outcome.startswith("failed"):
            root.failed = record.cause
        for tried in record.tried:
            if (tried_by := destinations.get(tried.destination)) is not None:
                at = min(tried_by.began + tried.seconds, tried_by.ended)
                tried_by.events.append((at, tried.answer))
        if self._media is not None:
            self._media.attributes |= _audio(record.legs)
        if self._hanging_up is not None:
            self._hanging_up.attributes["voice_gateway.cause"] = record.cause
        self._export(Trace(self.trace_id, self._spans))

    def _begin(self, name: str, began: float, kind: Kind = "internal") -> Span:
        span = Span(name, _span_id(), self._root.span_id, began, kind)
        if len(self._spans) < MAX_SPANS:
            self._spans.append(span)
        return span


class Tracer:
    """Decides which calls are traced.

    Args:
        export: takes each trace.
        share: of the calls that are traced, 0 to 1.
        clock: seconds, monotonic; wall_clock: seconds since the epoch.
        draw: a number from 0 to 1, for each call.

    """

    def __init__(
        self,
        export: Callable[[Trace], None],
        share: float,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._export = export
        self._share = share
        self._clock = clock
        self._wall_clock = wall_clock
        self._draw = draw
        self._admission = 0.0

    def admitted(self, seconds: float) -> None:
        """The INVITE of the call that begins next was answered 100 so many seconds after its arrival."""
        self._admission = seconds

    def begin(self) -> CallTrace | None:
        """A call begins; None if it is not traced."""
        if self._draw() >= self._share:
            return None
        clock, offset = self._clock, self._wall_clock() - self._clock()
        return CallTrace(secrets.token_hex(16), lambda: offset + clock(), self._admission, self._export)


def _span_id() -> str:
    return secrets.token_hex(8)


def _audio(legs: Sequence[LegLine]) -> dict[str, Attribute]:
    """How the legs did: `media.caller.mos`, `media.agt_sales.lost` and the like."""
    told: dict[str, Attribute] = {}
    for leg in legs:
        name = f"media.{leg.leg}"
        told[f"{name}.codec"] = leg.codec
        told[f"{name}.packets_in"] = leg.packets_in
        told[f"{name}.packets_out"] = leg.packets_out
        told[f"{name}.lost"] = leg.lost
        told[f"{name}.jitter_seconds"] = round(leg.jitter, 4)
        if leg.mos is not None:
            told[f"{name}.mos"] = round(leg.mos, 2)
    return told

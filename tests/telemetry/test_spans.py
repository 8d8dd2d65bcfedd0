"""A call's trace: its spans, what hangs below what, and what no span may say."""

from __future__ import annotations

import re

from gateway.calls.records import CallRecord
from gateway.destinations.base import Tried
from gateway.media.quality import LegQuality
from gateway.telemetry.spans import MAX_SPANS, CallTrace, Trace, Tracer


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def begun(share: float = 1.0) -> tuple[CallTrace, Clock, list[Trace]]:
    clock, exported = Clock(), list[Trace]()
    tracer = Tracer(
        exported.append, share, clock=clock, wall_clock=lambda: 1_000.0 + clock.now, draw=lambda: 0.5
    )
    tracer.admitted(0.002)
    trace = tracer.begin()
    assert trace is not None
    return trace, clock, exported


def record(trace: CallTrace, outcome: str = "fallback") -> CallRecord:
    return CallRecord(
        call_id="c1",
        sip_call_id="a@carrier",
        carrier="twilio",
        caller="+14155550142",
        dialled="+14155550100",
        number="+14155550100",
        started_at=1_100.0,
        source="54.172.60.1",
        outcome=outcome,
        cause="caller hung up",
        status=200,
        trace=trace,
        tried=[Tried("agt_a", "sip:+14155550111@a", "503 Busy", 0.5), Tried("agt_b", "sip:b", "200 OK", 1.0)],
        legs=[LegQuality("caller", "PCMU", 50, 50, 1, 0.001, None, None, None, 4.4)],
    )


def test_a_call_with_a_fallback() -> None:
    trace, clock, exported = begun()
    trace.looked_up(0.25)
    trace.tries("agt_a", "agent")
    first = trace.traceparent
    clock.now += 0.5
    trace.leaves("agt_a: 503 Busy")
    trace.tries("agt_b", "fallback")
    second = trace.traceparent
    clock.now += 1.0
    trace.answered()
    clock.now += 10.0
    trace.hangs_up()
    trace.finish(record(trace))
    (whole,) = exported
    spans = {span.name: span for span in whole.spans}
    assert list(spans) == [
        "call",
        "admission",
        "lookup",
        "destination agt_a",
        "destination agt_b",
        "media",
        "hang-up",
    ]
    root = spans["call"]
    assert (root.parent_id, root.kind, root.failed) == ("", "server", "")
    assert (round(root.began, 3), root.ended) == (1_099.998, 1_111.5)
    assert {span.parent_id for span in whole.spans[1:]} == {root.span_id}
    assert len({span.span_id for span in whole.spans}) == len(spans)
    assert round(spans["admission"].ended - spans["admission"].began, 3) == 0.002
    assert spans["lookup"].ended - spans["lookup"].began == 0.25
    a, b = spans["destination agt_a"], spans["destination agt_b"]
    assert (a.failed, a.ended, a.events) == ("agt_a: 503 Busy", 1_100.5, [(1_100.5, "503 Busy")])
    assert (b.failed, b.ended, b.attributes["voice_gateway.role"]) == ("", 1_111.5, "fallback")
    assert first == f"00-{whole.trace_id}-{a.span_id}-01"
    assert second == f"00-{whole.trace_id}-{b.span_id}-01"
    assert (spans["media"].began, spans["media"].attributes["media.caller.mos"]) == (1_101.5, 4.4)
    assert spans["hang-up"].attributes == {"voice_gateway.cause": "caller hung up"}
    assert root.attributes["voice_gateway.outcome"] == "fallback"


def test_no_span_holds_a_telephone_number() -> None:
    trace, _, exported = begun()
    trace.tries("agt_a", "agent")
    trace.finish(record(trace))
    assert "415555" not in repr(exported)


def test_a_call_that_failed_says_so() -> None:
    trace, _, exported = begun()
    trace.finish(record(trace, "failed"))
    assert exported[0].spans[0].failed == "caller hung up"


def test_what_agents_are_told_has_the_form_of_trace_context() -> None:
    trace, _, _ = begun()
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace.traceparent)
    assert trace.exemplar == {"trace_id": trace.trace_id}


def test_a_call_that_is_sent_on_for_ever_has_a_bounded_trace() -> None:
    trace, _, exported = begun()
    for number in range(2 * MAX_SPANS):
        trace.tries(f"agt_{number}", "agent")
        trace.leaves("busy")
    trace.finish(record(trace))
    assert len(exported[0].spans) == MAX_SPANS


def test_a_share_of_the_calls_is_traced() -> None:
    def tracer(share: float) -> Tracer:
        return Tracer(lambda trace: None, share, clock=Clock(), wall_clock=Clock(), draw=lambda: 0.5)

    assert tracer(0.4).begin() is None
    assert tracer(0.6).begin() is not None
    assert tracer(0.0).begin() is None

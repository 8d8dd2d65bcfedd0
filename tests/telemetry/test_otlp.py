"""What is sent to collectors, read by OpenTelemetry's own definition of it."""

from __future__ import annotations

import base64
import json
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gateway.telemetry.otlp import encode
from gateway.telemetry.spans import Span, Trace

TRACE_ID, ROOT, CHILD = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"


def understood(body: bytes) -> Any:
    """As a collector reads it: OTLP/JSON has ids in hexadecimal, protobuf's own JSON in base64."""

    def rewritten(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: base64.b64encode(bytes.fromhex(item)).decode()
                if key in {"traceId", "spanId", "parentSpanId"}
                else rewritten(item)
                for key, item in value.items()
            }
        return [rewritten(item) for item in value] if isinstance(value, list) else value

    return json_format.ParseDict(rewritten(json.loads(body)), ExportTraceServiceRequest())


def test_a_collector_reads_what_was_meant() -> None:
    root = Span("call", ROOT, "", 1_764_288_000.25, "server", 1_764_288_010.5, "agent died")
    root.attributes |= {"text": "a", "whole": 3, "share": 0.5, "yes": True}
    child = Span("destination agt_a", CHILD, ROOT, 1_764_288_000.5, "client", 1_764_288_001.0)
    child.events.append((1_764_288_000.75, "503 Busy"))
    request = understood(encode([Trace(TRACE_ID, [root, child])], {"service.name": "voice-gateway"}))
    (resource,) = request.resource_spans
    assert [(each.key, each.value.string_value) for each in resource.resource.attributes] == [
        ("service.name", "voice-gateway")
    ]
    first, second = resource.scope_spans[0].spans
    assert (first.trace_id.hex(), first.span_id.hex(), first.parent_span_id) == (TRACE_ID, ROOT, b"")
    assert (first.kind, second.kind) == (first.SPAN_KIND_SERVER, first.SPAN_KIND_CLIENT)
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (
        1_764_288_000_250_000_000,
        1_764_288_010_500_000_000,
    )
    assert (first.status.code, first.status.message) == (first.status.STATUS_CODE_ERROR, "agent died")
    values = {each.key: each.value for each in first.attributes}
    assert values["text"].string_value == "a"
    assert values["whole"].int_value == 3
    assert values["share"].double_value == 0.5
    assert values["yes"].bool_value is True
    assert (second.parent_span_id.hex(), second.status.code) == (ROOT, second.status.STATUS_CODE_UNSET)
    assert [(event.time_unix_nano, event.name) for event in second.events] == [
        (1_764_288_000_750_000_000, "503 Busy")
    ]


def test_no_traces_are_a_request_too() -> None:
    assert not understood(encode([], {})).resource_spans[0].scope_spans[0].spans

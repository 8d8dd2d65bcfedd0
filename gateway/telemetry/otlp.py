"""Traces in OTLP's JSON form (opentelemetry-proto, `ExportTraceServiceRequest`), for a collector's HTTP port.

In JSON, ids are hexadecimal and 64-bit numbers are texts; field names are in lowerCamelCase.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway.telemetry.spans import Attribute, Kind, Span, Trace

SCOPE: Final = {"name": "voice-gateway"}

_KINDS: Final[dict[Kind, int]] = {"internal": 1, "server": 2, "client": 3}
_ERROR: Final = 2


def encode(traces: Iterable[Trace], resource: Mapping[str, Attribute]) -> bytes:
    """The body of one request. resource: who we are, `service.name` and so on."""
    spans = [_span(trace.trace_id, span) for trace in traces for span in trace.spans]
    scope = {"scope": SCOPE, "spans": spans}
    whole = {"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}]}
    return msgspec.json.encode(whole)


def _span(trace_id: str, span: Span) -> dict[str, Any]:
    told: dict[str, Any] = {
        "traceId": trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": _KINDS[span.kind],
        "startTimeUnixNano": _nanoseconds(span.began),
        "endTimeUnixNano": _nanoseconds(span.ended),
        "attributes": _attributes(span.attributes),
        "events": [{"timeUnixNano": _nanoseconds(at), "name": text} for at, text in span.events],
    }
    if span.parent_id:
        told["parentSpanId"] = span.parent_id
    if span.failed:
        told["status"] = {"code": _ERROR, "message": span.failed}
    return told


def _attributes(values: Mapping[str, Attribute]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Attribute) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value}


def _nanoseconds(seconds: float) -> str:
    return str(round(seconds * 1_000_000) * 1_000)  # a float does not carry more than microseconds

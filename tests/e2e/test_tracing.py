"""A call as a collector and Homer see it: the agents are told of its trace, and histograms lead there."""

from __future__ import annotations

import json
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import carriers
from tests.e2e.carriers import Call, audio_offer
from tests.e2e.exchange import HOST, Exchange
from tests.e2e.gateway_process import GatewayProcess, wait_until
from tests.e2e.rtp import RtpPeer
from tests.e2e.two_ends import TwoEnds
from tests.e2e.wire import Peer
from tests.traces.test_hep import chunks

pytestmark = pytest.mark.e2e

KEY = "Bearer of-the-collector"


class Collector(ThreadingHTTPServer):
    """Takes traces over HTTP."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.resources: list[dict[str, Any]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                whole = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert (self.path, self.headers["Authorization"]) == ("/v1/traces", KEY)
                for resource in whole["resourceSpans"]:
                    collector.resources.append(resource["resource"])
                    collector.spans += [span for scope in resource["scopeSpans"] for span in scope["spans"]]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Be quiet."""

        super().__init__((HOST, 0), Handler)

    def traces(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Spans by trace and name."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for span in list(self.spans):
            found.setdefault(span["traceId"], {})[span["name"]] = span
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def homer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((HOST, 0))
        server.settimeout(30)
        yield server


def exchange_in(directory: Path, collector: Collector, homer: socket.socket) -> Exchange:
    tracing = {
        "otlp_endpoint": f"http://{HOST}:{collector.server_address[1]}",
        "otlp_authorization": KEY,
        "hep_address": f"{HOST}:{homer.getsockname()[1]}",
    }
    return Exchange(directory, tracing=tracing)


def open_metrics(gateway: GatewayProcess) -> str:
    """As Prometheus asks for them: this form alone has exemplars."""
    request = urllib.request.Request(
        f"http://{gateway.http[0]}:{gateway.http[1]}/metrics",
        headers={"Accept": "application/openmetrics-text; version=1.0.0"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.read().decode())


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


class Handshake:
    """An agent on a WebSocket that never shakes hands; what it was asked."""

    def __init__(self) -> None:
        self._server = socket.create_server((HOST, 0))
        self.url = f"ws://{HOST}:{self._server.getsockname()[1]}/ws"
        self.asked = ""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection:
            self.asked = connection.recv(4096).decode()
            connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        self._thread.join(5)
        self._server.close()


def test_a_call_is_one_trace_from_admission_to_hang_up(
    tmp_path: Path, collector: Collector, homer: socket.socket
):
    exchange = exchange_in(tmp_path, collector, homer)
    with exchange.gateway as gateway, TwoEnds(exchange) as ends:
        refusing = Handshake()
        line = exchange.line(refusing.url, f"sip:agent@{ends.agent.hostport}")
        ends.call.number = line.number
        ends.call.send()
        invite = ends.agent.receive("INVITE")
        ends.answer(invite)
        ok, caller = ends.call.answered()
        ends.agent.receive("ACK")
        ends.caller_audio.connect(ok.rtp_address)
        ends.caller_audio.wait_for_packets(0)
        caller.hang_up()
        ends.agent.respond(ends.agent.receive("BYE"), 200, "OK")
        refusing.close()
        wait_until(lambda: bool(collector.spans), "the trace is exported")
        ((trace_id, spans),) = collector.traces().items()
        root = spans["call"]
        first, second = spans[f"destination {line.primary}"], spans[f"destination {line.fallback}"]
        assert {"admission", "lookup", "media", "hang-up"} < spans.keys()
        assert {span.get("parentSpanId") for name, span in spans.items() if name != "call"} == {
            root["spanId"]
        }
        order = [spans[name] for name in ("admission", "lookup")] + [
            first,
            second,
            spans["media"],
            spans["hang-up"],
        ]
        starts = [int(span["startTimeUnixNano"]) for span in order]
        assert starts == sorted(starts)
        assert all(int(span["endTimeUnixNano"]) <= int(root["endTimeUnixNano"]) for span in spans.values())
        assert "refused with 503" in first["status"]["message"]
        assert "status" not in second
        assert attributes(root)["voice_gateway.outcome"] == "fallback"
        assert attributes(root)["sip.call_id"] == ends.call.call_id
        # Both agents were told where their own spans belong.
        (told,) = re.findall(r"traceparent: (\S+)", refusing.asked, re.IGNORECASE)
        assert told == f"00-{trace_id}-{first['spanId']}-01"
        assert invite["traceparent"] == f"00-{trace_id}-{second['spanId']}-01"
        # Nobody's number is in it.
        assert carriers.CALLER not in json.dumps(collector.spans)
        assert line.number not in json.dumps(collector.spans)
        assert {"key": "service.name", "value": {"stringValue": "voice-gateway"}} in collector.resources[0][
            "attributes"
        ]
        # Buckets lead to it, and so does the call's log line.
        exemplars = re.findall(
            r'^(\w+)_bucket\{.*\} \S+ # \{trace_id="(\w+)"\}', open_metrics(gateway), re.MULTILINE
        )
        assert {("gateway_call_stage_seconds", trace_id), ("gateway_call_duration_seconds", trace_id)} <= set(
            exemplars
        )
        ended = [line for line in gateway.log_lines() if line.get("event") == "call ended"]
        assert [line["trace_id"] for line in ended] == [trace_id]
        # Homer has every message of both legs.
        messages = []
        while len(messages) < gateway.metric("gateway_hep_messages_total", result="sent"):
            messages.append(chunks(homer.recv(65_535))[15])
        whole = b"\n".join(messages)
        assert ends.call.call_id.encode() in whole
        assert invite["call-id"].encode() in whole
        assert sum(message.startswith(b"INVITE ") for message in messages) == 2
        assert sum(message.startswith(b"BYE ") for message in messages) == 2


def test_without_a_destination_nothing_is_traced(exchange: Exchange):
    with Peer(carriers.TWILIO_HOST) as carrier, Peer() as agent, RtpPeer() as sound:
        line = exchange.line(f"sip:agent@{agent.hostport}")
        call = Call(carrier, exchange.gateway.sip, line.number, audio_offer(*sound.address))
        call.send()
        invite = agent.receive("INVITE")
        assert not invite.all("traceparent")
        agent.respond(invite, 486, "Busy", tag="a")
        agent.receive("ACK")
        call.answered(10)[1].hang_up()
    assert "trace_id" not in open_metrics(exchange.gateway)

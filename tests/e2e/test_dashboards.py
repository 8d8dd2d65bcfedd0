"""Every query of every dashboard, put to a real Prometheus that scrapes a gateway with traffic."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.e2e import audio, carriers
from tests.e2e.api_client import KEY, ApiClient
from tests.e2e.exchange import CARRIERS, HOST, settings
from tests.e2e.gateway_process import GatewayProcess, wait_until
from tests.e2e.prometheus import CONFIGS, Prometheus
from tests.e2e.sipp import Sipp, free_port
from tests.e2e.test_examples import example

pytestmark = pytest.mark.e2e

DASHBOARDS = sorted((CONFIGS.parent / "grafana").glob("*.json"))

SECONDS_OF_AUDIO = 13.0
"""Long enough for two of RTCP's reports each way (RFC 3550 §6.2: 5 s apart, less the first time)."""

LINES = {
    "agent": "+14155550110",
    "fallback": "+14155550120",
    "voicemail": "+14155550130",
    "stream": "+14155550140",
}


ELSEWHERE = {"Calls relayed by rtpengine"}
"""Panels of what this gateway does not have; `tests/e2e/test_rtpengine.py` sees the metric."""


def queries(dashboard: Path) -> Iterator[tuple[str, str]]:
    """(panel, expression) of a dashboard, its variables filled in as Grafana does for `All`."""
    page = json.loads(dashboard.read_text())
    names = [each["name"] for each in page["templating"]["list"] if each["type"] == "query"]
    for panel in page["panels"]:
        if panel["title"] in ELSEWHERE:
            continue
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "2m")
            for name in names:
                expression = expression.replace(f"${name}", ".*")
            assert "$" not in expression, expression
            yield f"{page['title']} / {panel['title']}", expression


@pytest.fixture
def receiver() -> Iterator[str]:
    """Somebody's server for webhooks; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{HOST}:{server.server_address[1]}/hook"
        server.shutdown()
        thread.join()


class Town:
    """A gateway with the API, and a number for every way in which a call can go."""

    def __init__(self, directory: Path, agent: Sipp, echo: int, receiver: str) -> None:
        sip, http = (HOST, free_port(HOST)), (HOST, free_port(HOST))
        whole: dict[str, dict[str, object]] = settings(directory, sip, http)
        del whole["routing"]
        whole["api"] = {"bootstrap_key": KEY}
        whole["webhooks"] = {"allow_private": True}
        (directory / "carriers.toml").write_text(CARRIERS)
        self.directory, self.http = directory, http
        self.gateway = GatewayProcess(directory, whole, sip=sip, http=http)
        self.api = ApiClient(http)
        self.numbers: list[str] = []
        self.api.agent("agt_answers", agent.uri)
        self.api.agent("agt_away", f"sip:agent@{HOST}:{free_port(HOST)}")
        self.api.agent("agt_echo", f"ws://{HOST}:{echo}/ws")
        for way, routing in {
            "agent": {"agent_id": "agt_answers"},
            "fallback": {"agent_id": "agt_away", "fallback": {"agent_id": "agt_answers"}},
            "voicemail": {"agent_id": "agt_away"},
            "stream": {"agent_id": "agt_echo"},
        }.items():
            body = {"phone_number": LINES[way], "provider": "twilio", "inbound_routing": routing}
            self.numbers.append(self.api.ask("POST", "/phone-numbers", body)["id"])
        hook = {"name": "witness", "url": receiver, "events": ["call.started", "call.ended"]}
        self.api.ask("POST", "/webhooks", hook)
        wait_until(lambda: self.gateway.metric("routing_numbers") == len(LINES), "the numbers are routed")

    def traffic(self) -> None:
        """One call each way, a number nobody has, a stranger, a forged webhook, a change of a route."""
        for way in ("agent", "fallback", "voicemail"):
            self._calls("carrier_twilio", LINES[way], talk=200)
        self._calls("carrier_refused", "+14155550199", status=404)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind((carriers.STRANGER_HOST, 0))
            stranger.sendto(b"OPTIONS sip:x SIP/2.0\r\n\r\n", self.gateway.sip)
        url = f"http://{self.http[0]}:{self.http[1]}/v1/carrier-webhooks/twilio/int_nobody"
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(urllib.request.Request(url, b"CallSid=x"), timeout=30)
        refusal.value.close()
        self.api.ask("PATCH", f"/phone-numbers/{self.numbers[0]}", {"friendly_name": secrets.token_hex(4)})

    def _calls(self, scenario: str, number: str, **blanks: object) -> None:
        with Sipp(
            self.directory,
            scenario,
            host=carriers.TWILIO_HOST,
            remote=self.gateway.sip,
            arguments=("-s", number),
            **blanks,
        ) as carrier:
            carrier.succeed()

    def talk(self) -> subprocess.Popen[bytes]:
        """Begin a call with audio and RTCP both ways, by the command that people try their agents with."""
        says = self.directory / "says.wav"
        soundfile.write(says, audio.tone(700, 2.0), audio.RATE, subtype="PCM_16")
        uri = f"sip:{LINES['stream']}@{self.gateway.sip[0]}:{self.gateway.sip[1]}"
        program = Path(sys.executable).with_name("voice-gateway")
        options = ["--play", str(says), "--duration", str(SECONDS_OF_AUDIO)]
        return subprocess.Popen([program, "call", uri, *options], stdout=subprocess.DEVNULL)


def test_no_query_returns_nothing(tmp_path: Path, receiver: str):
    with ExitStack() as stack:
        agent = stack.enter_context(Sipp(tmp_path, "agent_answers", calls=100, ring=0))
        town = Town(tmp_path, agent, stack.enter_context(example(tmp_path, "echo_agent.py")), receiver)
        stack.enter_context(town.gateway)
        prometheus = stack.enter_context(Prometheus(tmp_path / "prometheus", town.http))
        wait_until(lambda: bool(prometheus.query('up{job="voice-gateway"} == 1')), "it is scraped")
        talking = stack.enter_context(town.talk())
        town.traffic()  # makes the series …
        wait_until(lambda: bool(prometheus.query('gateway_calls_total{outcome="refused"}')), "they are seen")
        town.traffic()  # … and moves them
        assert talking.wait(SECONDS_OF_AUDIO + 20) == 0
        asked = [query for dashboard in DASHBOARDS for query in queries(dashboard)]

        def silent() -> list[tuple[str, str]]:
            return [(panel, expression) for panel, expression in asked if not prometheus.query(expression)]

        left: list[Any] = []

        def all_answered() -> bool:
            left[:] = silent()
            return not left

        try:
            wait_until(all_answered, "every query has an answer")
        except AssertionError:
            pytest.fail("nothing comes back for:\n" + "\n".join(f"{panel}: {expr}" for panel, expr in left))
        assert len(asked) > 70

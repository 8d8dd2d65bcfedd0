"""Somebody who follows the guide: its requests pasted into a shell, our command, and a call from the carrier at the end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.api.http.test_guide import COMMANDS, HOST
from tests.carriers import telnyx_server, twilio_server
from tests.e2e.api_client import KEY, ApiClient
from tests.e2e.exchange import CARRIERS, settings
from tests.e2e.gateway_process import GatewayProcess, wait_until
from tests.e2e.sipp import Sipp, free_port, require

PLACEHOLDERS = {
    "<api_key>": KEY,
    "<your_twilio_auth_token>": twilio_server.AUTH_TOKEN,
    "<your_twilio_account_sid>": twilio_server.ACCOUNT_SID,
    "<your_sip_trunk_domain>": "yourtrunk.pstn.twilio.com",
    "<your_telnyx_api_key>": telnyx_server.API_KEY,
    "<your_telnyx_account_id>": "0123456",
    "<yourconnection>": "acme",
    "<your_sip_username>": "acme",
    "<your_sip_password>": "IWasAtTheGate2026",
    "<agent_id>": "agt_sales",
    "<routing_agent_id>": "agt_sales",
    "<fallback_agent_id>": "agt_overflow",
}


class Customer:
    """Somebody with a shell: curl for the guide's requests, and our command."""

    def __init__(self, gateway: GatewayProcess, directory: Path) -> None:
        self.gateway = gateway
        self.port = 0
        self.api = ApiClient(gateway.http)
        self._environ = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "VOICE_GATEWAY_URL": f"http://{gateway.http[0]}:{gateway.http[1]}",
            "VOICE_GATEWAY_API_KEY": KEY,
            "VOICE_GATEWAY_CONFIG": str(directory / "gateway.toml"),
        }

    def agents(self) -> int:
        """The guide's agents; returns the port where the first one has to be for the call."""
        self.port = port = free_port("127.0.0.1")
        self.api.agent("agt_sales", f"sip:agent@127.0.0.1:{port}")
        self.api.agent("agt_overflow", "sip:nobody@127.0.0.1:9")
        return port

    def paste(self, *parts: str, **replaced: str) -> Any:
        """The one request of the guide that has these parts, as it stands there; what it answers.

        replaced: what the customer writes in the place of something else, besides the placeholders.
        """
        require("curl")
        (command,) = (each for each in COMMANDS if all(part in each for part in parts))
        for text, value in {HOST: self._environ["VOICE_GATEWAY_URL"], **PLACEHOLDERS, **replaced}.items():
            command = command.replace(text, value)
        command = command.replace("curl ", "curl --silent --fail-with-body --max-time 60 ", 1)
        answer = self.run(["bash", "-c", re.sub(r"\n# .*", "", command)])
        return json.loads(answer) if answer else None

    def run(self, command: list[str], status: int = 0) -> str:
        done = subprocess.run(
            command, env=self._environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout


def called(
    customer: Customer, directory: Path, number: str, agent_port: int, dress: str, host: str, uri: str
) -> None:
    """A call from a carrier's address to where its trunk sends calls is taken by the agent."""
    name, _, port = uri.removeprefix("sip:").partition(":")
    assert name == "localhost"
    before = calls_to_agents(customer, dress)
    to = ("127.0.0.1", int(port))
    with (
        Sipp(directory, "agent_answers", port=agent_port, ring=100) as agent,
        Sipp(directory, dress, host=host, remote=to, arguments=("-s", number), talk=200) as carrier,
    ):
        carrier.succeed()
        agent.succeed()
    assert calls_to_agents(customer, dress) == before + 1


def calls_to_agents(customer: Customer, dress: str) -> float:
    """Calls of a carrier that agents took."""
    carrier = dress.removeprefix("carrier_")
    return customer.gateway.metric("gateway_calls_total", carrier=carrier, outcome="agent")


def gateway_settings(
    directory: Path, twilio_url: str, telnyx_url: str, **carriers: str
) -> tuple[dict[str, dict[str, Any]], tuple[str, int], tuple[str, int]]:
    """Of a gateway whose carriers are local ones: settings, SIP and HTTP addresses."""
    host = "127.0.0.1"
    sip, http = (host, free_port(host)), (host, free_port(host))
    whole: dict[str, dict[str, Any]] = settings(directory, sip, http)
    del whole["routing"]
    (directory / "carriers.toml").write_text(CARRIERS)
    whole["api"] = {"bootstrap_key": KEY}
    urls = {"twilio_url": twilio_url, "telnyx_url": telnyx_url}
    whole["carriers"] = {"nodes": f"localhost:{sip[1]}", **urls, **carriers}
    return whole, sip, http


def routed(customer: Customer, count: int) -> None:
    """So many numbers are routed."""
    wait_until(lambda: customer.gateway.metric("routing_numbers") == count, f"{count} numbers are routed")

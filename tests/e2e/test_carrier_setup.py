"""Path C from end to end: the guide's own requests, one command, and the carrier's calls are answered.

The carrier's API is a local one; the call comes from where its trunk sends calls by then, dressed as that carrier,
from an address that a carriers file admits in its name.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.http.test_guide import COMMANDS, HOST
from tests.carriers import telnyx_server, twilio_server
from tests.carriers.telnyx_server import TelnyxServer
from tests.carriers.twilio_server import TwilioServer
from tests.e2e import carriers
from tests.e2e.api_client import KEY, ApiClient
from tests.e2e.exchange import CARRIERS, settings
from tests.e2e.gateway_process import GatewayProcess, wait_until
from tests.e2e.sipp import Sipp, free_port, require

pytestmark = pytest.mark.e2e

NUMBER = "+15739693824"
"""The guide's."""

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
        self.api = ApiClient(gateway.http)
        self._environ = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "VOICE_GATEWAY_URL": f"http://{gateway.http[0]}:{gateway.http[1]}",
            "VOICE_GATEWAY_API_KEY": KEY,
            "VOICE_GATEWAY_CONFIG": str(directory / "gateway.toml"),
        }

    def agents(self) -> int:
        """The guide's agents; returns the port where the first one has to be for the call."""
        port = free_port("127.0.0.1")
        self.api.agent("agt_sales", f"sip:agent@127.0.0.1:{port}")
        self.api.agent("agt_overflow", "sip:nobody@127.0.0.1:9")
        return port

    def paste(self, provider: str) -> None:
        """The guide's two requests for a carrier, as they stand there."""
        require("curl")
        for path in ("/v1/integrations", "/v1/phone-numbers "):
            (command,) = (
                each for each in COMMANDS if path in each and f'"{provider}"' in each and NUMBER in each
            )
            for placeholder, value in {HOST: self._environ["VOICE_GATEWAY_URL"], **PLACEHOLDERS}.items():
                command = command.replace(placeholder, value)
            command = command.replace("curl ", "curl --silent --fail-with-body --max-time 30 ", 1)
            self.run(["bash", "-c", re.sub(r"\n# .*", "", command)])

    def run(self, command: list[str], status: int = 0) -> str:
        done = subprocess.run(
            command, env=self._environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def twilio() -> Iterator[TwilioServer]:
    server = TwilioServer()
    server.own(NUMBER)
    with server.running_in_a_thread():
        yield server
    server.check()


@pytest.fixture
def telnyx() -> Iterator[TelnyxServer]:
    server = TelnyxServer()
    server.own(NUMBER)
    with server.running_in_a_thread():
        yield server
    server.check()


@pytest.fixture
def customer(tmp_path: Path, twilio: TwilioServer, telnyx: TelnyxServer) -> Iterator[Customer]:
    host = "127.0.0.1"
    sip, http = (host, free_port(host)), (host, free_port(host))
    whole: dict[str, dict[str, Any]] = settings(tmp_path, sip, http)
    del whole["routing"]
    (tmp_path / "carriers.toml").write_text(CARRIERS)
    whole["api"] = {"bootstrap_key": KEY}
    whole["carriers"] = {
        "nodes": f"localhost:{sip[1]}",
        "twilio_url": twilio.address,
        "telnyx_url": telnyx.address,
    }
    with GatewayProcess(tmp_path, whole, sip=sip, http=http) as gateway:
        yield Customer(gateway, tmp_path)


def test_a_number_at_twilio_is_answered_after_the_guide_and_one_command(
    customer: Customer, twilio: TwilioServer, tmp_path: Path
):
    port = customer.agents()
    customer.paste("twilio")
    customer.run(["voice-gateway", "carriers", "doctor"], status=1)
    customer.run(["voice-gateway", "carriers", "setup", "twilio", "--yes"])
    trunk = twilio.number(NUMBER)["trunk_sid"]
    assert twilio.trunks[trunk]["domain_name"] == "yourtrunk.pstn.twilio.com"
    assert twilio.passwords == {"oneinbox": "IWasAtTheGate2026"}
    (url,) = twilio.origination[trunk].values()
    called(customer, tmp_path, port, "carrier_twilio", carriers.TWILIO_HOST, url["sip_url"])


def test_a_number_at_telnyx_is_answered_after_the_guide_and_one_command(
    customer: Customer, telnyx: TelnyxServer, tmp_path: Path
):
    telnyx.number(NUMBER)["connection_id"] = telnyx.credential_connection("OneInbox")  # as the guide has it
    port = customer.agents()
    customer.paste("telnyx")
    told = customer.run(["voice-gateway", "carriers", "setup", "telnyx", "--yes"])
    assert "not the credential connection" in told
    connection = telnyx.connections[telnyx.number(NUMBER)["connection_id"]]
    assert connection["inbound"]["dnis_number_format"] == "+e164"
    fqdn = telnyx.fqdns[connection["inbound"]["default_primary_fqdn_id"]]
    uri = f"sip:{fqdn['fqdn']}:{fqdn['port']}"
    called(customer, tmp_path, port, "carrier_telnyx", carriers.TELNYX_HOST, uri)


def called(customer: Customer, directory: Path, agent_port: int, dress: str, host: str, uri: str) -> None:
    """A call from a carrier's address to where its trunk sends calls is taken by the agent."""
    name, _, port = uri.removeprefix("sip:").partition(":")
    assert name == "localhost"
    wait_until(lambda: customer.gateway.metric("routing_numbers") == 1, "the number is routed")
    to = ("127.0.0.1", int(port))
    with (
        Sipp(directory, "agent_answers", port=agent_port, ring=100) as agent,
        Sipp(directory, dress, host=host, remote=to, arguments=("-s", NUMBER), talk=200) as carrier,
    ):
        carrier.succeed()
        agent.succeed()
    carrier_name = dress.removeprefix("carrier_")
    assert customer.gateway.metric("gateway_calls_total", carrier=carrier_name, outcome="agent") == 1

"""Path C from end to end: the guide's own requests, one command, and the carrier's calls are answered.

The carrier's API is a local one; the call comes from where its trunk sends calls by then, dressed as that carrier,
from an address that a carriers file admits in its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.carriers.telnyx_server import TelnyxServer
from tests.carriers.twilio_server import TwilioServer
from tests.e2e import carriers
from tests.e2e.customer import Customer, called, gateway_settings, routed
from tests.e2e.gateway_process import GatewayProcess

pytestmark = pytest.mark.e2e

NUMBER = "+15739693824"
"""The guide's."""


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
    whole, sip, http = gateway_settings(tmp_path, twilio.address, telnyx.address)
    with GatewayProcess(tmp_path, whole, sip=sip, http=http) as gateway:
        yield Customer(gateway, tmp_path)


def test_a_number_at_twilio_is_answered_after_the_guide_and_one_command(
    customer: Customer, twilio: TwilioServer, tmp_path: Path
):
    port = customer.agents()
    customer.paste("/v1/integrations", '"twilio"')
    customer.paste("/v1/phone-numbers ", '"twilio"', NUMBER)
    routed(customer, 1)
    customer.run(["voice-gateway", "carriers", "doctor"], status=1)
    customer.run(["voice-gateway", "carriers", "setup", "twilio", "--yes"])
    trunk = twilio.number(NUMBER)["trunk_sid"]
    assert twilio.trunks[trunk]["domain_name"] == "yourtrunk.pstn.twilio.com"
    assert twilio.passwords == {"oneinbox": "IWasAtTheGate2026"}
    (url,) = twilio.origination[trunk].values()
    called(customer, tmp_path, NUMBER, port, "carrier_twilio", carriers.TWILIO_HOST, url["sip_url"])


def test_a_number_at_telnyx_is_answered_after_the_guide_and_one_command(
    customer: Customer, telnyx: TelnyxServer, tmp_path: Path
):
    telnyx.number(NUMBER)["connection_id"] = telnyx.credential_connection("OneInbox")  # as the guide has it
    port = customer.agents()
    customer.paste("/v1/integrations", '"telnyx"')
    customer.paste("/v1/phone-numbers ", '"telnyx"', NUMBER)
    routed(customer, 1)
    told = customer.run(["voice-gateway", "carriers", "setup", "telnyx", "--yes"])
    assert "not the credential connection" in told
    connection = telnyx.connections[telnyx.number(NUMBER)["connection_id"]]
    assert connection["inbound"]["dnis_number_format"] == "+e164"
    fqdn = telnyx.fqdns[connection["inbound"]["default_primary_fqdn_id"]]
    uri = f"sip:{fqdn['fqdn']}:{fqdn['port']}"
    called(customer, tmp_path, NUMBER, port, "carrier_telnyx", carriers.TELNYX_HOST, uri)

"""Paths A and B from end to end: the guide's own requests buy a number, and the carrier's calls to it are answered.

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

PICKED, ASSIGNED = "+14155551234", "+14155551235"
"""The guide's, and another one on offer."""


@pytest.fixture
def twilio() -> Iterator[TwilioServer]:
    server = TwilioServer()
    server.sell(PICKED, ASSIGNED)
    with server.running_in_a_thread():
        yield server
    server.check()


@pytest.fixture
def telnyx() -> Iterator[TelnyxServer]:
    server = TelnyxServer(order_looks=1)
    server.sell(PICKED, ASSIGNED)
    with server.running_in_a_thread():
        yield server
    server.check()


def bought(directory: Path, carrier: str, twilio_url: str, telnyx_url: str) -> Iterator[Customer]:
    """The guide's paths A and B, in a deployment whose numbers come from one carrier."""
    whole, sip, http = gateway_settings(directory, twilio_url, telnyx_url, seller=carrier)
    with GatewayProcess(directory, whole, sip=sip, http=http) as gateway:
        customer = Customer(gateway, directory)
        port = customer.agents()
        customer.paste("/v1/integrations", f'"{carrier}"')
        found = customer.paste("/v1/phone-numbers/search")
        assert [each["phone_number"] for each in found["items"]] == [PICKED, ASSIGNED]
        picked = customer.paste("/v1/phone-numbers/purchase", PICKED)
        assigned = customer.paste("/v1/phone-numbers/purchase", '"area_code"')
        for answer, number in ((picked, PICKED), (assigned, ASSIGNED)):
            assert (answer["phone_number"], answer["status"]) == (number, "active")
            assert (answer["provider"], answer["provisioning"]) == (carrier, None)
        routed(customer, 2)
        shown = customer.run(["voice-gateway", "numbers", "get", PICKED])
        assert all(step in shown for step in ("purchase", "trunk", "origination", "attachment"))
        customer.port = port
        yield customer
        released = {"<phone_id>": picked["id"]}
        assert customer.paste("-X DELETE", **released) is None
        customer.run(["voice-gateway", "numbers", "remove", ASSIGNED, "--yes"])
        routed(customer, 0)


def test_numbers_bought_at_twilio_are_answered_and_released(
    tmp_path: Path, twilio: TwilioServer, telnyx: TelnyxServer
):
    for customer in bought(tmp_path, "twilio", twilio.address, telnyx.address):
        for number in (PICKED, ASSIGNED):
            trunk = twilio.number(number)["trunk_sid"]
            (url,) = twilio.origination[trunk].values()
            called(
                customer,
                tmp_path,
                number,
                customer.port,
                "carrier_twilio",
                carriers.TWILIO_HOST,
                url["sip_url"],
            )
    assert twilio.numbers == {} and twilio.bought == 2


def test_numbers_bought_at_telnyx_are_answered_and_released(
    tmp_path: Path, twilio: TwilioServer, telnyx: TelnyxServer
):
    for customer in bought(tmp_path, "telnyx", twilio.address, telnyx.address):
        for number in (PICKED, ASSIGNED):
            connection = telnyx.connections[telnyx.number(number)["connection_id"]]
            fqdn = telnyx.fqdns[connection["inbound"]["default_primary_fqdn_id"]]
            uri = f"sip:{fqdn['fqdn']}:{fqdn['port']}"
            called(customer, tmp_path, number, customer.port, "carrier_telnyx", carriers.TELNYX_HOST, uri)
    assert telnyx.numbers == {} and telnyx.bought == 2

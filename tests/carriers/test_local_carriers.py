"""The local carriers are what they pretend to be: the official SDKs work with them, and nothing undescribed passes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import telnyx
from twilio.base.exceptions import TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from tests.carriers import telnyx_server, twilio_server
from tests.carriers.descriptions import Description
from tests.carriers.faults import Fault
from tests.carriers.telnyx_server import TelnyxServer
from tests.carriers.twilio_server import TwilioServer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:twilio")

NUMBER = "+14155550111"
BUY = "POST /2010-04-01/Accounts/{AccountSid}/IncomingPhoneNumbers.json"


@contextlib.asynccontextmanager
async def twilio_client(server: TwilioServer) -> AsyncIterator[Client]:
    async with server.running() as address:
        http = AsyncTwilioHttpClient()
        client = Client(server.account_sid, server.auth_token, http_client=http)
        client.api.base_url = client.trunking.base_url = client.voice.base_url = address
        try:
            yield client
        finally:
            await http.close()
    server.check()


@contextlib.asynccontextmanager
async def telnyx_client(server: TelnyxServer) -> AsyncIterator[telnyx.AsyncTelnyx]:
    async with (
        server.running() as address,
        telnyx.AsyncTelnyx(api_key=server.api_key, base_url=f"{address}/v2", max_retries=0) as client,
    ):
        yield client
    server.check()


async def test_twilio_s_sdk_finds_buys_wires_and_releases_a_number():
    server = TwilioServer()
    server.sell(NUMBER, "+14155550112", "+12125550113")
    async with twilio_client(server) as client:
        found = await client.available_phone_numbers("US").local.list_async(
            area_code=415, contains="55501", limit=5
        )
        assert [each.phone_number for each in found] == [NUMBER, "+14155550112"]
        trunk = await client.trunking.v1.trunks.create_async(
            friendly_name="voice-gateway", domain_name="voice-gateway-1.pstn.twilio.com"
        )
        await client.trunking.v1.trunks(trunk.sid).origination_urls.create_async(
            weight=10, priority=10, enabled=True, friendly_name="node", sip_url="sip:voice.example.com:5060"
        )
        listed = await client.sip.credential_lists.create_async(friendly_name="voice-gateway")
        await client.sip.credential_lists(listed.sid).credentials.create_async("gateway", "IWasAtTheGate2026")
        await client.trunking.v1.trunks(trunk.sid).credentials_lists.create_async(
            credential_list_sid=listed.sid
        )
        bought = await client.incoming_phone_numbers.create_async(phone_number=NUMBER, trunk_sid=trunk.sid)
        attached = await client.trunking.v1.trunks(trunk.sid).phone_numbers.list_async()
        assert [each.sid for each in attached] == [bought.sid]
        other = server.own("+14155550199")
        await client.trunking.v1.trunks(trunk.sid).phone_numbers.create_async(phone_number_sid=other)
        assert server.numbers[other]["trunk_sid"] == trunk.sid
        country = await client.voice.v1.dialing_permissions.countries("IN").fetch_async()
        assert country.low_risk_numbers_enabled is False
        assert len(await client.voice.v1.dialing_permissions.countries.list_async()) == 4
        assert await client.incoming_phone_numbers(bought.sid).delete_async()
        assert [each.sid for each in await client.incoming_phone_numbers.list_async()] == [other]


async def test_twilio_s_lists_come_in_pages():
    server = TwilioServer()
    numbers = [f"+1415555{index:04}" for index in range(12)]
    for number in numbers:
        server.own(number)
    async with twilio_client(server) as client:
        listed = await client.incoming_phone_numbers.list_async(page_size=5)
        assert [each.phone_number for each in listed] == numbers
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("server", "code"),
    [
        (TwilioServer(for_sale=[]), 21422),
        (TwilioServer(for_sale=[twilio_server.Sellable(NUMBER, needs_bundle=True)]), 21649),
        (TwilioServer(suspended=True), 20005),
    ],
)
async def test_twilio_refuses_as_it_does(server: TwilioServer, code: int):
    async with twilio_client(server) as client:
        with pytest.raises(TwilioRestException) as refused:
            await client.incoming_phone_numbers.create_async(phone_number=NUMBER)
    assert refused.value.code == code


async def test_telnyx_s_sdk_finds_buys_wires_and_releases_a_number():
    server = TelnyxServer(order_looks=1)
    server.sell(NUMBER)
    async with telnyx_client(server) as client:
        found = await client.available_phone_numbers.list(
            filter={
                "country_code": "US",
                "national_destination_code": "415",
                "features": ["voice"],
                "limit": 5,
            }
        )
        assert [each.phone_number for each in found.data or []] == [NUMBER]
        profile = (await client.outbound_voice_profiles.create(name="voice-gateway")).data
        assert profile is not None and profile.id is not None
        connection = (
            await client.fqdn_connections.create(
                connection_name="voice-gateway",
                inbound={"ani_number_format": "+E.164", "dnis_number_format": "+e164", "timeout_1xx_secs": 5},
                outbound={
                    "outbound_voice_profile_id": profile.id,
                    "ip_authentication_method": "credential-authentication",
                },
            )
        ).data
        assert connection is not None and connection.id is not None
        fqdn = await client.fqdns.create(
            connection_id=connection.id, dns_record_type="a", fqdn="voice.example.com", port=5060
        )
        assert fqdn.data is not None
        await client.fqdn_connections.update(connection.id, inbound={"default_primary_fqdn_id": fqdn.data.id})
        assert server.connections[connection.id]["inbound"]["dnis_number_format"] == "+e164"
        order = (
            await client.number_orders.create(
                phone_numbers=[{"phone_number": NUMBER}],
                connection_id=connection.id,
                customer_reference="ref",
            )
        ).data
        assert order is not None and order.id is not None and order.status == "pending"
        seen = [(await client.number_orders.retrieve(order.id)).data.status for _ in range(2)]
        assert seen == ["pending", "success"]
        assert [
            each.id async for each in client.number_orders.list(filter={"customer_reference": "ref"})
        ] == [order.id]
        numbers = [each async for each in client.phone_numbers.list(filter={"phone_number": NUMBER})]
        assert [each.connection_id for each in numbers] == [connection.id]
        await client.phone_numbers.update(numbers[0].id, customer_reference="other")
        await client.phone_numbers.delete(numbers[0].id)
        assert not server.numbers
        assert [each.id async for each in client.fqdns.list(filter={"connection_id": connection.id})]
        assert [each.id async for each in client.fqdn_connections.list()] == [connection.id]
        assert [each.id async for each in client.outbound_voice_profiles.list()] == [profile.id]


async def test_telnyx_sells_only_what_was_found_and_only_once():
    server = TelnyxServer()
    server.sell(NUMBER, gone=True)
    async with telnyx_client(server) as client:
        with pytest.raises(telnyx.BadRequestError):
            await client.number_orders.create(phone_numbers=[{"phone_number": NUMBER}])
        await client.available_phone_numbers.list()
        order = (await client.number_orders.create(phone_numbers=[{"phone_number": NUMBER}])).data
        assert order is not None and order.id is not None
        settled = (await client.number_orders.retrieve(order.id)).data
        assert settled is not None and settled.status == "failure"
    assert not server.numbers


async def test_what_is_new_is_missing_from_lists_for_a_while():
    server = TwilioServer(unseen=2)
    server.sell(NUMBER)
    async with twilio_client(server) as client:
        await client.incoming_phone_numbers.create_async(phone_number=NUMBER)
        seen = [len(await client.incoming_phone_numbers.list_async(phone_number=NUMBER)) for _ in range(3)]
    assert seen == [0, 0, 1]


@pytest.mark.parametrize(
    ("fault", "bought"),
    [
        (Fault("refused", 429, twilio_server.TOO_MANY, {"Retry-After": "7"}), 0),
        (Fault("refused", 503, "<html>bad gateway</html>"), 0),
        (Fault("answered", 500, twilio_server.INTERNAL), 1),
        (Fault("dropped"), 1),
        (Fault("unheard"), 0),
        (Fault("silent"), 1),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
async def test_faults_to_order(fault: Fault, bought: int):
    server = TwilioServer()
    server.sell(NUMBER)
    server.fail(BUY, fault)
    async with twilio_client(server) as client:
        with pytest.raises((TwilioRestException, aiohttp.ClientError, TimeoutError, ValueError)):
            async with asyncio.timeout(0.5):
                await client.incoming_phone_numbers.create_async(phone_number=NUMBER)
        assert server.bought == bought
        if not bought:
            await client.incoming_phone_numbers.create_async(phone_number=NUMBER)
    assert server.bought == 1


@pytest.mark.parametrize(
    ("name", "method", "path", "query", "body", "fault"),
    [
        ("twilio", "POST", "/v1/Trunks/TK1/OriginationUrls", {}, {"Weight": "10"}, "'SipUrl' is a required"),
        ("twilio", "POST", "/v1/Trunks", {}, {"Domain": "x"}, "'Domain' was unexpected"),
        ("twilio", "GET", "/v1/Trunks", {"PageSize": "5000"}, None, "greater than the maximum"),
        (
            "telnyx",
            "POST",
            "/fqdns",
            {},
            {"fqdn": "a.example", "connection_id": "1"},
            "'dns_record_type' is a required",
        ),
        (
            "telnyx",
            "GET",
            "/phone_numbers",
            {"filter[number]": "+1"},
            None,
            "'filter[number]' was unexpected",
        ),
        (
            "telnyx",
            "POST",
            "/fqdn_connections",
            {},
            {"connection_name": "a", "user_name": "b"},
            "'user_name' was unexp",
        ),
    ],
)
def test_a_request_that_is_not_described_is_found(
    name: str, method: str, path: str, query: dict[str, str], body: Any, fault: str
):
    description = Description(name)
    operation = description.find(method, path)
    assert operation is not None
    assert any(fault in each for each in description.request_faults(operation, query, body))


def test_an_operation_that_is_not_described_does_not_exist():
    assert Description("twilio").find("PUT", "/v1/Trunks") is None
    assert Description("telnyx").find("POST", "/credential_connections") is None


@pytest.mark.parametrize(("name", "server"), [("twilio", TwilioServer()), ("telnyx", TelnyxServer())])
def test_every_described_operation_is_granted_and_no_other(name: str, server: TwilioServer | TelnyxServer):
    assert set(server.handlers()) == set(Description(name).operations)


async def test_violations_are_told():
    server = TelnyxServer()
    async with server.running() as address, aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {telnyx_server.API_KEY}"}
        async with session.post(f"{address}/v2/fqdns", json={"fqdn": 5}, headers=headers) as answer:
            assert answer.status == 422
        async with session.get(f"{address}/v2/nothing", headers=headers) as answer:
            assert answer.status == 404
    with pytest.raises(AssertionError):
        server.check()

"""Numbers are searched, bought, looked up and released at a local Twilio and a local Telnyx, by the carriers' own SDKs."""

from __future__ import annotations

import pytest

from api.carriers import telnyx_sdk, twilio_sdk
from api.carriers.base import (
    AccountSuspended,
    CarrierError,
    CarrierUnavailable,
    CredentialsRefused,
    DocumentsNeeded,
    InsufficientFunds,
    NumberQuery,
    NumberUnavailable,
    Purchase,
    QueryRefused,
    Throttled,
)
from api.carriers.twilio import FETCHED
from tests.api.carriers.sdk_clients import account_at
from tests.carriers import telnyx_server, twilio_server
from tests.carriers.faults import Fault
from tests.carriers.local_carrier import LocalCarrier
from tests.carriers.telnyx_server import TelnyxServer, telnyx_error
from tests.carriers.twilio_server import TwilioServer, twilio_error

NUMBER, OTHER, THIRD = "+14155550111", "+14155550112", "+12125550133"
REFERENCE = "voice-gateway-0123456789abcdef"
BUY = "POST /2010-04-01/Accounts/{AccountSid}/IncomingPhoneNumbers.json"
ORDER = "POST /number_orders"
LOCAL = "GET /2010-04-01/Accounts/{AccountSid}/AvailablePhoneNumbers/{CountryCode}/Local.json"
BERLIN, MUNICH = "+493023125000", "+498912345000"

Server = TwilioServer | TelnyxServer


@pytest.fixture(params=[TwilioServer, TelnyxServer], ids=["twilio", "telnyx"])
def server(request: pytest.FixtureRequest) -> Server:
    """Either carrier, with three numbers on offer."""
    made: Server = request.param()
    made.sell(NUMBER, OTHER)
    made.sell(THIRD, region="NY", locality="New York")
    return made


def purchases(server: LocalCarrier) -> int:
    return len(server.requests(BUY if isinstance(server, TwilioServer) else ORDER))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (NumberQuery("US"), [NUMBER, OTHER, THIRD]),
        (NumberQuery("US", limit=2), [NUMBER, OTHER]),
        (NumberQuery("US", area_code="415"), [NUMBER, OTHER]),
        (NumberQuery("US", area_code="212", type="local"), [THIRD]),
        (NumberQuery("US", contains="0112"), [OTHER]),
        (NumberQuery("US", contains="555*133"), [THIRD]),
        (NumberQuery("US", area_code="415", contains="0112", limit=1), [OTHER]),
        (NumberQuery("US", capabilities=("sms",), limit=1), [NUMBER]),
        (NumberQuery("US", area_code="999"), []),
    ],
    ids=lambda value: str(value) if isinstance(value, NumberQuery) else "",
)
async def test_what_is_searched_is_found(server: Server, query: NumberQuery, found: list[str]):
    async with account_at(server) as account:
        numbers = await account.carrier.search(query)
    assert [each.phone_number for each in numbers] == found
    for each in numbers:
        assert (each.country, "voice" in each.capabilities) == ("US", True)
        assert each.region in {"CA", "NY"} and each.locality
        if server.description is telnyx_server._DESCRIPTION:
            assert (each.monthly_price, each.upfront_price, each.currency) == ("1.00000", "1.00000", "USD")
        else:
            assert (each.monthly_price, each.currency) == (None, None)


async def test_twilio_is_searched_by_area_where_it_knows_no_area_codes():
    server = TwilioServer()
    server.sell(BERLIN, MUNICH, country="DE", region=None, locality=None)
    server.sell("+4915112345000", country="DE", kind="Mobile")
    async with account_at(server) as account:
        berlin = await account.carrier.search(NumberQuery("DE", area_code="30"))
        mobile = await account.carrier.search(NumberQuery("DE", type="mobile"))
        every = await account.carrier.search(NumberQuery("DE", limit=3))
    assert [each.phone_number for each in berlin] == [BERLIN]
    assert [(each.phone_number, each.type) for each in mobile] == [("+4915112345000", "mobile")]
    assert len(every) == 3
    assert all("AreaCode" not in each.query for each in server.asked)
    assert server.requests(LOCAL)[0].query["PageSize"] == str(FETCHED)


async def test_twilio_refuses_what_it_does_not_sell_with_a_fix():
    server = TwilioServer()
    server.sell(NUMBER)
    async with account_at(server) as account:
        with pytest.raises(QueryRefused, match="no numbers in FR") as country:
            await account.carrier.search(NumberQuery("FR"))
        with pytest.raises(QueryRefused, match="2 characters") as short:
            await account.carrier.search(NumberQuery("US", contains="5"))
    assert (country.value.field, short.value.field) == ("country", "contains")


async def test_toll_free_codes_are_looked_for_among_toll_free_numbers():
    server = TwilioServer()
    server.sell("+18005550199", kind="TollFree")
    async with account_at(server) as account:
        [found] = await account.carrier.search(NumberQuery("US", area_code="800"))
    assert (found.phone_number, found.type) == ("+18005550199", "toll_free")
    assert len(server.asked) == 1


async def test_a_number_is_bought_known_by_its_reference_and_released(server: Server):
    async with account_at(server) as account:
        carrier = account.carrier
        assert await carrier.purchased(NUMBER, REFERENCE) == Purchase("never")
        await carrier.purchase(NUMBER, REFERENCE)
        found = await carrier.purchased(NUMBER, REFERENCE)
        assert found.state == "bought" and found.identity in server.numbers
        bought = server.number(NUMBER)
        kept = bought["friendly_name"] if isinstance(server, TwilioServer) else bought["customer_reference"]
        assert kept == REFERENCE and server.bought == 1
        assert (await carrier.purchased(OTHER, REFERENCE)).state == "never"
        assert (await carrier.purchased(NUMBER, "voice-gateway-another")).state == "unseen"
        await carrier.release(found.identity)
        assert server.numbers == {}
        await carrier.release(found.identity)


async def test_telnyx_orders_are_asynchronous_and_looked_at_until_they_are_through():
    server = TelnyxServer(order_looks=2)
    server.sell(NUMBER)
    async with account_at(server) as account:
        ordered = await account.carrier.purchase(NUMBER, REFERENCE)
        assert ordered.state == "pending"
        seen = [await account.carrier.purchased(NUMBER, REFERENCE) for _ in range(3)]
    assert [each.state for each in seen] == ["pending", "pending", "bought"]
    assert purchases(server) == 1


async def test_a_telnyx_order_that_fails_is_known_to_have_failed():
    server = TelnyxServer()
    server.sell(NUMBER, gone=True)
    async with account_at(server) as account:
        await account.carrier.purchase(NUMBER, REFERENCE)
        assert (await account.carrier.purchased(NUMBER, REFERENCE)).state == "failed"


async def test_a_telnyx_order_that_waits_for_documents_says_so():
    server = TelnyxServer()
    server.sell(NUMBER, needs_requirements=True)
    async with account_at(server) as account:
        ordered = await account.carrier.purchase(NUMBER, REFERENCE)
        assert ordered.state == "pending" and "documents" in ordered.detail
        again = await account.carrier.purchased(NUMBER, REFERENCE)
    assert again.state == "pending" and "documents" in again.detail


async def test_a_number_that_telnyx_does_not_list_yet_is_on_its_way():
    server = TelnyxServer(unseen=1)
    server.sell(NUMBER)
    async with account_at(server) as account:
        await account.carrier.purchase(NUMBER, REFERENCE)
        seen = [(await account.carrier.purchased(NUMBER, REFERENCE)).state for _ in range(4)]
    assert seen[-1] == "bought" and "never" not in seen[1:]
    assert purchases(server) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("refused", 400, twilio_error(400, 21422, "PhoneNumber is not available")), NumberUnavailable),
        (Fault("refused", 400, twilio_error(400, 21649, "Bundle required")), DocumentsNeeded),
        (
            Fault("refused", 400, twilio_error(400, 21631, "Phone Number Requires an Address")),
            DocumentsNeeded,
        ),
        (Fault("refused", 402, twilio_error(402, 20402, "Payment required")), InsufficientFunds),
        (Fault("refused", 400, twilio_error(400, 21999, "Insufficient funds.")), InsufficientFunds),
        (Fault("refused", 401, twilio_error(401, 20003, "Authenticate")), CredentialsRefused),
        (Fault("refused", 401, twilio_error(401, 20005, "Account not active")), AccountSuspended),
        (Fault("refused", 403, twilio_error(403, 22300, "restricted from buying")), AccountSuspended),
        (Fault("refused", 429, twilio_server.TOO_MANY, {"Retry-After": "9"}), Throttled),
        (Fault("refused", 400, twilio_error(400, 21404, "something else")), CarrierError),
        (Fault("answered", 500, twilio_server.INTERNAL), CarrierUnavailable),
    ],
    ids=lambda value: str(value.body["code"]) if isinstance(value, Fault) else "",
)
async def test_what_twilio_refuses_is_told_by_its_kind(fault: Fault, error: type[CarrierError]):
    server = TwilioServer()
    server.sell(NUMBER)
    server.fail(BUY, fault)
    async with account_at(server) as account:
        with pytest.raises(CarrierError) as raised:
            await account.carrier.purchase(NUMBER, REFERENCE)
    assert raised.type is error
    assert raised.value.unknown is (error is CarrierUnavailable)
    if isinstance(raised.value, Throttled):
        assert raised.value.retry_after == 9


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (
            Fault("refused", 400, telnyx_error("10027", "Phone number not available", "No.")),
            NumberUnavailable,
        ),
        (Fault("refused", 422, telnyx_error("10999", "Regulatory requirements", "No.")), DocumentsNeeded),
        (Fault("refused", 403, telnyx_error("20100", "Insufficient Funds", "No.")), InsufficientFunds),
        (Fault("refused", 401, telnyx_error("10009", "Authentication failed", "No.")), CredentialsRefused),
        (Fault("refused", 403, telnyx_error("20999", "Account blocked", "No.")), AccountSuspended),
        (Fault("refused", 429, telnyx_server.TOO_MANY, {"Retry-After": "9"}), Throttled),
        (Fault("refused", 409, telnyx_error("10036", "Processing", "No.")), CarrierError),
        (Fault("answered", 500, telnyx_server.INTERNAL), CarrierUnavailable),
    ],
    ids=lambda value: value.body["errors"][0]["code"] if isinstance(value, Fault) else "",
)
async def test_what_telnyx_refuses_is_told_by_its_kind(fault: Fault, error: type[CarrierError]):
    server = TelnyxServer()
    server.sell(NUMBER)
    server.fail(ORDER, fault)
    async with account_at(server) as account:
        with pytest.raises(CarrierError) as raised:
            await account.carrier.purchase(NUMBER, REFERENCE)
    assert raised.type is error
    assert raised.value.unknown is (error is CarrierUnavailable)
    if isinstance(raised.value, Throttled):
        assert raised.value.retry_after == 9
    assert purchases(server) == 1, "left to itself the SDK would have ordered again"


@pytest.mark.parametrize("kind", ["silent", "dropped"])
async def test_a_purchase_whose_answer_is_lost_is_made_once_given_up_in_time_and_found_by_its_reference(
    server: Server, kind: str, monkeypatch: pytest.MonkeyPatch
):
    """Twilio's asynchronous client ignores its timeout, and would wait for as long as the carrier is silent."""
    if kind == "silent":
        for sdk in (twilio_sdk, telnyx_sdk):
            monkeypatch.setattr(sdk, "CALL_SECONDS", 1.0)
    server.fail(
        BUY if isinstance(server, TwilioServer) else ORDER, Fault("silent" if kind == "silent" else "dropped")
    )
    async with account_at(server) as account:
        with pytest.raises(CarrierUnavailable) as lost:
            await account.carrier.purchase(NUMBER, REFERENCE)
        assert lost.value.unknown
        found = await account.carrier.purchased(NUMBER, REFERENCE)
    assert found.state == "bought" and server.bought == 1
    assert purchases(server) == 1


async def test_nothing_is_unknown_if_nobody_was_there(server: Server):
    async with account_at(server) as account:
        pass
    async with account_at(server) as account:
        server.address = ""
        carrier = account.carrier
        client = carrier._client  # type: ignore[attr-defined]
        if isinstance(server, TwilioServer):
            client.api.base_url = "http://127.0.0.1:9"
        else:
            client.base_url = "http://127.0.0.1:9/v2"
        with pytest.raises(CarrierUnavailable, match="cannot be reached") as raised:
            await carrier.search(NumberQuery("US"))
        assert raised.value.unknown is False

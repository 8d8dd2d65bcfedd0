"""The carriers' SDKs as we use them: bounded in time, never repeating by themselves, failing with errors of ours."""

from __future__ import annotations

import pytest

from api.carriers import telnyx_sdk, twilio_sdk
from api.carriers.base import (
    AccountSuspended,
    CarrierError,
    CarrierUnavailable,
    CredentialsRefused,
)
from tests.carriers import telnyx_server, twilio_server
from tests.carriers.faults import Fault
from tests.carriers.telnyx_server import TelnyxServer, telnyx_error
from tests.carriers.twilio_server import TwilioServer, twilio_error

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:twilio")

NUMBER = "+14155550111"
BUY = "POST /2010-04-01/Accounts/{AccountSid}/IncomingPhoneNumbers.json"
ORDER = "POST /number_orders"
HTML = "<html>502 Bad Gateway</html>"

TROUBLE = [
    (Fault("unheard"), CarrierUnavailable),
    (Fault("silent"), CarrierUnavailable),
    (Fault("dropped"), CarrierUnavailable),
    (Fault("refused", 503, HTML), CarrierUnavailable),
    (Fault("answered", 200, HTML), CarrierUnavailable),
    (Fault("refused", 418, HTML), CarrierError),
]


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    for sdk in (twilio_sdk, telnyx_sdk):
        monkeypatch.setattr(sdk, "CALL_SECONDS", 0.3)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        *TROUBLE,
        (Fault("refused", 429, twilio_server.TOO_MANY, {"Retry-After": "1"}), CarrierUnavailable),
        (Fault("refused", 401, twilio_error(401, 20003, "Authenticate")), CredentialsRefused),
        (Fault("refused", 401, twilio_error(401, 20005, "Account not active")), AccountSuspended),
        (Fault("refused", 403, twilio_error(403, 22300, "restricted from buying")), CarrierError),
    ],
    ids=lambda value: f"{value.kind} {value.status}" if isinstance(value, Fault) else "",
)
async def test_twilio_is_asked_once_and_fails_with_our_error(fault: Fault, error: type[CarrierError]):
    server = TwilioServer()
    server.sell(NUMBER)
    server.fail(BUY, Fault(fault.kind, fault.status, fault.body, fault.headers, times=9))
    async with (
        server.running() as address,
        twilio_sdk.twilio_client(server.account_sid, server.auth_token, address) as client,
    ):
        with pytest.raises(CarrierError) as raised:
            await twilio_sdk.asked(client.incoming_phone_numbers.create_async(phone_number=NUMBER))
    assert raised.type is error
    assert len(server.requests(BUY)) == 1
    assert server.auth_token not in str(raised.value)


async def test_a_list_that_twilio_refuses_is_told_in_its_words():
    server = TwilioServer(auth_token="another")
    async with (
        server.running() as address,
        twilio_sdk.twilio_client(server.account_sid, "wrong", address) as client,
    ):
        with pytest.raises(CredentialsRefused, match=r"Authenticate \(20003\)"):
            await twilio_sdk.asked(client.trunking.v1.trunks.list_async(limit=5))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        *TROUBLE,
        (Fault("refused", 429, telnyx_server.TOO_MANY, {"Retry-After": "1"}), CarrierUnavailable),
        (Fault("refused", 500, telnyx_server.INTERNAL), CarrierUnavailable),
        (Fault("refused", 409, telnyx_error("10036", "Processing", "The order is processed.")), CarrierError),
        (Fault("refused", 401, telnyx_error("10009", "Authentication failed", "No.")), CredentialsRefused),
    ],
    ids=lambda value: f"{value.kind} {value.status}" if isinstance(value, Fault) else "",
)
async def test_telnyx_is_asked_once_and_fails_with_our_error(fault: Fault, error: type[CarrierError]):
    """Left to itself its SDK repeats an order up to twice on 409, 429, 5xx and timeouts, and buys as often."""
    server = TelnyxServer()
    server.sell(NUMBER)
    server.searched.add(NUMBER)
    server.fail(ORDER, Fault(fault.kind, fault.status, fault.body, fault.headers, times=9))
    async with (
        server.running() as address,
        telnyx_sdk.telnyx_client(server.api_key, address) as client,
    ):
        with pytest.raises(CarrierError) as raised:
            await telnyx_sdk.asked(client.number_orders.create(phone_numbers=[{"phone_number": NUMBER}]))
    assert raised.type is error
    assert len(server.requests(ORDER)) == 1
    assert len(server.orders) <= 1
    assert server.api_key not in str(raised.value)


async def test_what_telnyx_says_is_told():
    server = TelnyxServer(balance="0.00")
    server.sell(NUMBER)
    server.searched.add(NUMBER)
    async with (
        server.running() as address,
        telnyx_sdk.telnyx_client(server.api_key, address) as client,
    ):
        with pytest.raises(CarrierError, match=r"enough funds for this order\. \(20100\)"):
            await telnyx_sdk.asked(client.number_orders.create(phone_numbers=[{"phone_number": NUMBER}]))

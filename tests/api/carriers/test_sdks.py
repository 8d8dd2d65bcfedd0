"""The carriers' SDKs as we use them: bounded in time, never repeating by themselves, failing with errors of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.carriers import telnyx_sdk, twilio_sdk
from api.carriers.base import (
    AccountSuspended,
    CarrierError,
    CarrierUnavailable,
    CredentialsRefused,
    Throttled,
)
from api.carriers.patience import MAX_RETRY_AFTER, pause, retry_after
from tests.carriers import telnyx_server, twilio_server
from tests.carriers.faults import Fault
from tests.carriers.telnyx_server import TelnyxServer, telnyx_error
from tests.carriers.twilio_server import TwilioServer, twilio_error

NUMBER = "+14155550111"
BUY = "POST /2010-04-01/Accounts/{AccountSid}/IncomingPhoneNumbers.json"
ORDER = "POST /number_orders"
TRUNKS = "GET /v1/Trunks"
NUMBERS = "GET /phone_numbers"
HTML = "<html>502 Bad Gateway</html>"

TROUBLE = [
    (Fault("unheard"), CarrierUnavailable),
    (Fault("silent"), CarrierUnavailable),
    (Fault("dropped"), CarrierUnavailable),
    (Fault("refused", 503, HTML), CarrierUnavailable),
    (Fault("answered", 200, HTML), CarrierUnavailable),
    (Fault("refused", 418, HTML), CarrierError),
]


SILENCE = 1.0
"""Seconds after which a silent carrier is given up; all others are given the time that they have in earnest."""


def impatient(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    if fault.kind == "silent":
        for sdk in (twilio_sdk, telnyx_sdk):
            monkeypatch.setattr(sdk, "CALL_SECONDS", SILENCE)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        *TROUBLE,
        (Fault("refused", 429, twilio_server.TOO_MANY, {"Retry-After": "1"}), Throttled),
        (Fault("refused", 401, twilio_error(401, 20003, "Authenticate")), CredentialsRefused),
        (Fault("refused", 401, twilio_error(401, 20005, "Account not active")), AccountSuspended),
        (Fault("refused", 403, twilio_error(403, 22300, "restricted from buying")), AccountSuspended),
    ],
    ids=lambda value: f"{value.kind} {value.status}" if isinstance(value, Fault) else "",
)
async def test_twilio_is_asked_once_and_fails_with_our_error(
    monkeypatch: pytest.MonkeyPatch, fault: Fault, error: type[CarrierError]
):
    impatient(monkeypatch, fault)
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
    assert len(server.requests(BUY)) == 1 or fault.kind == "silent"
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
        (Fault("refused", 429, telnyx_server.TOO_MANY, {"Retry-After": "1"}), Throttled),
        (Fault("refused", 500, telnyx_server.INTERNAL), CarrierUnavailable),
        (Fault("refused", 409, telnyx_error("10036", "Processing", "The order is processed.")), CarrierError),
        (Fault("refused", 401, telnyx_error("10009", "Authentication failed", "No.")), CredentialsRefused),
    ],
    ids=lambda value: f"{value.kind} {value.status}" if isinstance(value, Fault) else "",
)
async def test_telnyx_is_asked_once_and_fails_with_our_error(
    monkeypatch: pytest.MonkeyPatch, fault: Fault, error: type[CarrierError]
):
    """Left to itself its SDK repeats an order up to twice on 409, 429, 5xx and timeouts, and buys as often."""
    impatient(monkeypatch, fault)
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
    assert len(server.requests(ORDER)) == 1 or fault.kind == "silent"
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


@pytest.mark.parametrize(("times", "answered"), [(1, True), (2, True), (3, False)])
async def test_a_question_that_is_throttled_is_asked_again(times: int, answered: bool):
    twilio, telnyx = TwilioServer(), TelnyxServer()
    twilio.fail(TRUNKS, Fault("refused", 429, twilio_server.TOO_MANY, {"Retry-After": "0"}, times=times))
    telnyx.fail(NUMBERS, Fault("refused", 429, telnyx_server.TOO_MANY, {"Retry-After": "0"}, times=times))
    async with (
        twilio.running(),
        telnyx.running(),
        twilio_sdk.twilio_client(twilio.account_sid, twilio.auth_token, twilio.address) as asks_twilio,
        telnyx_sdk.telnyx_client(telnyx.api_key, telnyx.address) as asks_telnyx,
    ):
        for ask, call in (
            (twilio_sdk.asked, asks_twilio.trunking.v1.trunks.list_async(limit=5)),
            (telnyx_sdk.asked, asks_telnyx.phone_numbers.list()),
        ):
            if answered:
                await ask(call)
            else:
                with pytest.raises(CarrierUnavailable):
                    await ask(call)
    assert len(twilio.asked) == len(telnyx.asked) == min(times + 1, 3)


async def test_a_longer_wait_is_told_and_not_waited_for():
    twilio, telnyx = TwilioServer(), TelnyxServer()
    twilio.fail(TRUNKS, Fault("refused", 429, twilio_server.TOO_MANY, {"Retry-After": "60"}))
    telnyx.fail(NUMBERS, Fault("refused", 429, telnyx_server.TOO_MANY, {"Retry-After": "60"}))
    async with (
        twilio.running(),
        telnyx.running(),
        twilio_sdk.twilio_client(twilio.account_sid, twilio.auth_token, twilio.address) as asks_twilio,
        telnyx_sdk.telnyx_client(telnyx.api_key, telnyx.address) as asks_telnyx,
    ):
        for ask, call in (
            (twilio_sdk.asked, asks_twilio.trunking.v1.trunks.list_async(limit=5)),
            (telnyx_sdk.asked, asks_telnyx.phone_numbers.list()),
        ):
            with pytest.raises(CarrierUnavailable) as raised:
                await ask(call)
            assert raised.value.retry_after == 60


@given(st.text(max_size=30))
def test_any_text_may_stand_in_retry_after(text: str):
    wait = retry_after({"Retry-After": text})
    assert wait is None or 0 <= wait <= MAX_RETRY_AFTER


@pytest.mark.parametrize(
    ("method", "status", "after", "attempt", "wait"),
    [
        ("GET", 429, "2", 1, 2),
        ("GET", 429, None, 1, 1),
        ("GET", 429, "Fri, 27 Nov 2026 12:00:00 GMT", 1, 1),
        ("GET", 429, "6", 1, None),
        ("GET", 429, "2", 3, None),
        ("GET", 503, "2", 1, None),
        ("POST", 429, "2", 1, None),
        ("DELETE", 429, "2", 1, None),
    ],
)
def test_what_is_asked_again(method: str, status: int, after: str | None, attempt: int, wait: int | None):
    assert pause(method, status, {} if after is None else {"retry-after": after}, attempt) == wait

"""Webhooks of carriers: signed by them, or refused and counted; each event acted on once."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import telnyx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from api import carrier_webhooks
from api.carriers.events import Unreadable, of_telnyx, of_twilio, read_form
from api.carriers.webhook_signatures import from_telnyx, from_twilio, is_public_key
from tests.api.http.rig import Answer, Api, running_api

TOKEN = "a-twilio-auth-token"
PUBLIC = "https://api.example.com"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_KEY = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
ALARM = {
    "Sid": "NO00000000000000000000000000000001",
    "AccountSid": "AC00000000000000000000000000000001",
    "Timestamp": "2026-11-27T12:00:00Z",
    "Level": "WARNING",
    "PayloadType": "application/json",
    "Payload": json.dumps({"resource_sid": "CA0000000000000000000000000000000a", "error_code": "32011"}),
}
ORDER = {
    "data": {
        "event_type": "number_order.complete",
        "id": "d578b093-0000-4000-8000-6b689a6ff170",
        "occurred_at": "2026-11-27T12:00:00Z",
        "payload": {
            "id": "12ade33a-0000-4000-8000-b3c836e1c292",
            "customer_reference": "ref",
            "status": "success",
        },
        "record_type": "event",
    },
    "meta": {"attempt": 1},
}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(tmp_path, public_url=PUBLIC) as api:
        yield api


async def integration(api: Api, provider: str, **metadata: str) -> str:
    body = {
        "name": "a",
        "provider": provider,
        "api_key": TOKEN,
        "metadata": {"account_sid": "AC1", **metadata},
    }
    answer = await api.post("/v1/integrations", body)
    assert answer.status == 201, answer
    return str(answer.body["id"])


async def told_by_twilio(
    api: Api, integration_id: str, form: dict[str, str], *, token: str = TOKEN, root: str = PUBLIC
) -> Answer:
    path = f"/v1/carrier-webhooks/twilio/{integration_id}"
    signature = RequestValidator(token).compute_signature(root + path, form)
    return await api.ask(
        "POST",
        path,
        key=None,
        data=urlencode(form).encode(),
        Content_Type="application/x-www-form-urlencoded",
        X_Twilio_Signature=signature,
    )


async def told_by_telnyx(
    api: Api, integration_id: str, event: Any, *, key: Ed25519PrivateKey = KEY, late: int = 0
) -> Answer:
    body, stamp = json.dumps(event).encode(), str(int(time.time()) - late)
    signature = base64.b64encode(key.sign(f"{stamp}|".encode() + body)).decode()
    return await api.ask(
        "POST",
        f"/v1/carrier-webhooks/telnyx/{integration_id}",
        key=None,
        data=body,
        telnyx_timestamp=stamp,
        telnyx_signature_ed25519=signature,
    )


def count(api: Api, name: str, **labels: str) -> float:
    return api.service.metrics.registry.get_sample_value(f"{name}_total", labels) or 0.0


async def test_an_alarm_of_twilio_s_is_counted_once(api: Api, capsys: pytest.CaptureFixture[str]):
    integration_id = await integration(api, "twilio")
    assert (await told_by_twilio(api, integration_id, ALARM)).status == 204
    assert (await told_by_twilio(api, integration_id, ALARM)).status == 204
    assert count(api, "api_carrier_alarms", carrier="twilio", code="32011") == 1
    assert count(api, "api_carrier_webhooks", carrier="twilio", result="repeated") == 1
    said = capsys.readouterr().out
    assert "carrier alarm" in said and "did not answer Twilio in time" in said


async def test_an_alarm_about_something_else_is_counted_as_other(api: Api):
    integration_id = await integration(api, "twilio")
    other = {**ALARM, "Payload": json.dumps({"error_code": "11200"})}
    assert (await told_by_twilio(api, integration_id, other)).status == 204
    assert count(api, "api_carrier_alarms", carrier="twilio", code="other") == 1


async def test_an_order_that_came_through_is_taken_once(api: Api):
    integration_id = await integration(api, "telnyx", public_key=PUBLIC_KEY)
    assert (await told_by_telnyx(api, integration_id, ORDER)).status == 204
    assert count(api, "api_carrier_webhooks", carrier="telnyx", result="taken") == 1
    assert (await told_by_telnyx(api, integration_id, ORDER)).status == 204
    assert count(api, "api_carrier_webhooks", carrier="telnyx", result="repeated") == 1


async def test_what_is_not_signed_rightly_is_refused_and_counted(api: Api):
    twilio = await integration(api, "twilio")
    telnyx_id = await integration(api, "telnyx", public_key=PUBLIC_KEY)
    keyless = await integration(api, "telnyx")
    other = Ed25519PrivateKey.generate()
    answers = [
        await told_by_twilio(api, twilio, ALARM, token="wrong"),
        await told_by_twilio(api, twilio, ALARM, root="https://elsewhere.example.com"),
        await told_by_twilio(api, "crd_none", ALARM),
        await told_by_twilio(api, telnyx_id, ALARM),
        await told_by_telnyx(api, telnyx_id, ORDER, key=other),
        await told_by_telnyx(api, telnyx_id, ORDER, late=301),
        await told_by_telnyx(api, telnyx_id, ORDER, late=-302),
        await told_by_telnyx(api, keyless, ORDER),
        await api.ask("POST", f"/v1/carrier-webhooks/telnyx/{telnyx_id}", key=None, data=b"{}"),
        await api.ask("POST", f"/v1/carrier-webhooks/twilio/{twilio}", key=None),
    ]
    assert {answer.status for answer in answers} == {403}
    assert len({json.dumps(answer.body) for answer in answers}) == 1, "strangers learn what exists"
    refused = [
        count(api, "api_carrier_webhooks", carrier=each, result="bad signature")
        for each in ("twilio", "telnyx")
    ]
    assert sum(refused) == len(answers)


async def test_guessing_is_slowed_down(api: Api):
    statuses = [(await told_by_twilio(api, "crd_none", ALARM)).status for _ in range(25)]
    assert statuses[:20] == [403] * 20 and 429 in statuses


async def test_what_else_is_refused(api: Api):
    integration_id = await integration(api, "telnyx", public_key=PUBLIC_KEY)
    assert (await api.ask("POST", f"/v1/carrier-webhooks/other/{integration_id}", key=None)).status == 404
    assert (await api.ask("GET", f"/v1/carrier-webhooks/telnyx/{integration_id}", key=None)).status == 405
    huge = await api.ask(
        "POST",
        f"/v1/carrier-webhooks/telnyx/{integration_id}",
        key=None,
        data=b"x" * (carrier_webhooks.MAX_BODY + 1),
    )
    assert huge.status == 413
    assert (await told_by_telnyx(api, integration_id, [])).status == 204  # signed, and nothing that we know
    assert (await integration_with(api, "short")).status == 422


async def integration_with(api: Api, public_key: str) -> Answer:
    body = {"name": "a", "provider": "telnyx", "api_key": TOKEN, "metadata": {"public_key": public_key}}
    return await api.post("/v1/integrations", body)


async def test_behind_no_proxy_the_address_is_the_request_s(tmp_path: Path):
    async with running_api(tmp_path) as api:
        integration_id = await integration(api, "twilio")
        assert (await told_by_twilio(api, integration_id, ALARM, root=api.address)).status == 204


async def test_events_that_were_seen_are_forgotten_in_the_end(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(carrier_webhooks, "MAX_SEEN", 2)
    integration_id = await integration(api, "twilio")
    for sid in ("NO1", "NO2", "NO3", "NO1"):
        assert (await told_by_twilio(api, integration_id, {**ALARM, "Sid": sid})).status == 204
    assert count(api, "api_carrier_alarms", carrier="twilio", code="32011") == 4


VECTOR = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}
"""Twilio's own, from its page on security."""


def test_twilio_s_published_vector():
    url, signature = "https://mycompany.com/myapp.php?foo=1&bar=2", "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    fields = list(VECTOR.items())
    assert from_twilio("12345", url, fields, signature)
    assert from_twilio("12345", "https://mycompany.com:443/myapp.php?foo=1&bar=2", fields, signature)
    assert not from_twilio("12346", url, fields, signature)
    assert not from_twilio("12345", url + "&baz=3", fields, signature)
    assert not from_twilio("12345", url, [*fields, ("Extra", "1")], signature)
    assert not from_twilio("12345", url, fields, None)
    assert not from_twilio("12345", url, fields, "é")
    assert not from_twilio("12345", "https://[broken", fields, signature)


def test_telnyx_s_own_sdk_agrees():
    body, stamp = json.dumps(ORDER), str(int(time.time()))
    signature = base64.b64encode(KEY.sign(f"{stamp}|{body}".encode())).decode()
    headers = {"telnyx-timestamp": stamp, "telnyx-signature-ed25519": signature}
    client = telnyx.Telnyx(api_key="KEY", public_key=PUBLIC_KEY)
    client.webhooks.unwrap(body, headers=headers)
    assert from_telnyx(PUBLIC_KEY, stamp, body.encode(), signature, now=time.time())


@given(st.text(max_size=50), st.text(max_size=20), st.binary(max_size=50), st.text(max_size=100))
def test_no_signature_raises(key: str, stamp: str, body: bytes, signature: str):
    assert not from_telnyx(key, stamp, body, signature, now=1_800_000_000.0)
    assert not from_twilio(key, f"https://example.com/{stamp}", [(stamp, key)], signature)
    is_public_key(key)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.text() | st.integers(), lambda each: st.lists(each) | st.dictionaries(st.text(), each)
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_body_raises_but_its_own_error(body: bytes):
    for read in (
        of_telnyx,
        lambda raw: of_twilio(read_form(raw)),
        lambda raw: of_twilio([("Payload", raw.decode("latin-1"))]),
    ):
        with contextlib.suppress(Unreadable):
            read(body)

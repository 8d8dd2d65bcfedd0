"""An integration is set up and examined over the API, at a local Twilio and a local Telnyx."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.carriers import twilio_sdk
from api.service import ApiService, ApiStartError
from tests.api.http.rig import KEY, Answer, Api, running_api
from tests.carriers import telnyx_server, twilio_server
from tests.carriers.faults import Fault
from tests.carriers.telnyx_server import TelnyxServer
from tests.carriers.twilio_server import TwilioServer

ROOT = Path(__file__).parents[3]
NUMBER, OTHER = "+14155550111", "+14155550112"
NODES = ("voice.example.com:5060",)
TRUNKS = "GET /v1/Trunks"


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioServer]:
    server = TwilioServer()
    server.own(NUMBER)
    server.own(OTHER)
    async with server.running():
        yield server
    server.check()


@pytest.fixture
async def telnyx() -> AsyncIterator[TelnyxServer]:
    server = TelnyxServer()
    server.own(NUMBER)
    async with server.running():
        yield server
    server.check()


@pytest.fixture
async def api(tmp_path: Path, twilio: TwilioServer, telnyx: TelnyxServer) -> AsyncIterator[Api]:
    urls = (twilio.address, telnyx.address)
    async with running_api(tmp_path, carrier_nodes=NODES, carrier_urls=urls) as api:
        yield api


async def integration(api: Api, provider: str = "twilio", key: str | None = None, **metadata: str) -> str:
    """As the guide makes one; returns its path."""
    account = twilio_server.ACCOUNT_SID if provider == "twilio" else "12345"
    keys = {"twilio": twilio_server.AUTH_TOKEN, "telnyx": telnyx_server.API_KEY}
    answer = await api.post(
        "/v1/integrations",
        {
            "name": f"My {provider} account",
            "provider": provider,
            "api_key": key or keys[provider],
            "metadata": {"account_sid": account, "phone_number": NUMBER, **metadata},
        },
    )
    assert answer.status == 201, answer
    return f"/v1/integrations/{answer.body['id']}"


def changes(answer: Answer) -> list[tuple[str, str]]:
    assert answer.status == 200, answer
    return [(step["change"], step["status"]) for step in answer.body["steps"]]


async def test_a_twilio_account_is_planned_wired_and_healthy(api: Api, twilio: TwilioServer):
    path = await integration(api)
    sick = await api.get(f"{path}/doctor")
    assert sick.body["healthy"] is False
    assert {each["check"] for each in sick.body["findings"]} == {"trunk", "number not attached"}
    planned = await api.post(f"{path}/setup", {"dry_run": True})
    assert changes(planned) == [
        (each, "planned") for each in ("create trunk", "add origination", "attach number")
    ]
    assert planned.body["trunk_id"] is None and planned.body["complete"] is False
    assert twilio.changes() == []
    done = await api.post(f"{path}/setup", {})
    assert changes(done) == [(each, "done") for each in ("create trunk", "add origination", "attach number")]
    assert done.body["trunk_id"] in twilio.trunks and done.body["complete"] is True
    assert done.body["destinations"] == ["sip:voice.example.com:5060"]
    assert twilio.number(NUMBER)["trunk_sid"] == done.body["trunk_id"]
    assert changes(await api.post(f"{path}/setup", {})) == []
    well = await api.get(f"{path}/doctor?countries=US")
    assert well.body["healthy"] is True and well.body["findings"] == []


async def test_a_telnyx_account_is_planned_wired_and_healthy(api: Api, telnyx: TelnyxServer):
    path = await integration(api, "telnyx")
    planned = await api.post(f"{path}/setup", {"dry_run": True})
    assert telnyx.changes() == [] and planned.body["trunk_domain"] == "sip.telnyx.com"
    done = await api.post(f"{path}/setup", {})
    assert [change for change, _ in changes(done)] == [change for change, _ in changes(planned)]
    assert telnyx.number(NUMBER)["connection_id"] == done.body["trunk_id"]
    assert (await api.get(f"{path}/doctor")).body["healthy"] is True


async def test_numbers_and_credentials_of_the_guide_are_used(api: Api, twilio: TwilioServer):
    path = await integration(api, sip_trunk="yourtrunk.pstn.twilio.com")
    credential_id = path.rpartition("/")[2]
    config = {
        "trunk_address": "yourtrunk.pstn.twilio.com",
        "auth_username": "oneinbox",
        "auth_password": "IWasAtTheGate2026",
    }
    await api.number(NUMBER, provider_config=config)
    await api.number(OTHER, credential_id=credential_id)
    done = await api.post(f"{path}/setup", {})
    assert done.body["complete"] and done.body["trunk_domain"] == "yourtrunk.pstn.twilio.com"
    trunk = done.body["trunk_id"]
    assert [twilio.number(each)["trunk_sid"] for each in (NUMBER, OTHER)] == [trunk, trunk]
    assert twilio.passwords == {"oneinbox": "IWasAtTheGate2026"}
    assert "IWasAtTheGate2026" not in str(done)
    assert changes(await api.post(f"{path}/setup", {})) == []
    named = {"auth_username": "oneinbox", "auth_password": "Another1Password"}
    assert changes(await api.post(f"{path}/setup", named)) == [("set password", "done")]
    assert twilio.passwords == {"oneinbox": "Another1Password"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"auth_username": "gateway"}, "auth_password"),
        ({"auth_username": "gateway", "auth_password": "weak"}, "auth_password"),
        ({"phone_numbers": ["4155550111"]}, "phone_numbers[0]"),
        ({"countries": ["usa"]}, "countries[0]"),
        ({"dryrun": True}, "dryrun"),
    ],
)
async def test_what_set_up_refuses(api: Api, twilio: TwilioServer, body: Any, field: str):
    answer = await api.post(f"{await integration(api)}/setup", body)
    assert answer.status == 422 and answer.body["errors"][0]["field"] == field, answer
    assert twilio.asked == []


async def test_credentials_cannot_be_chosen_at_telnyx(api: Api, telnyx: TelnyxServer):
    body = {"auth_username": "gateway", "auth_password": "IWasAtTheGate2026"}
    answer = await api.post(f"{await integration(api, 'telnyx')}/setup", body)
    assert answer.status == 422 and telnyx.asked == []


@pytest.mark.parametrize("provider", ["twilio", "telnyx"])
async def test_wrong_credentials_are_a_finding_and_a_failure(api: Api, provider: str):
    path = await integration(api, provider, key="wrong")
    report = await api.get(f"{path}/doctor")
    assert [each["check"] for each in report.body["findings"]] == ["credentials"]
    assert report.body["healthy"] is False
    answer = await api.post(f"{path}/setup", {})
    assert answer.status == 409 and answer.body["type"].endswith("credentials-refused")
    assert "wrong" not in answer.body["detail"]


async def test_a_suspended_account_is_a_finding(api: Api, twilio: TwilioServer):
    twilio.suspended = True
    report = await api.get(f"{await integration(api)}/doctor")
    assert [each["check"] for each in report.body["findings"]] == ["account"]


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault("refused", 429, twilio_server.TOO_MANY, {"Retry-After": "30"}, times=99), 429),
        (Fault("refused", 503, "<html>down</html>", times=99), 503),
        (Fault("unheard", times=99), 503),
        (Fault("silent", times=99), 503),
        (Fault("answered", 200, "no JSON at all", times=99), 503),
    ],
    ids=["throttled", "down", "dropped", "silent", "no JSON"],
)
async def test_a_carrier_in_trouble_is_told_and_can_be_asked_again(
    api: Api, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch, fault: Fault, status: int
):
    if fault.kind == "silent":
        monkeypatch.setattr(twilio_sdk, "CALL_SECONDS", 0.5)
    path = await integration(api)
    twilio.fail(TRUNKS, fault)
    answer = await api.post(f"{path}/setup", {})
    wait = fault.headers.get("Retry-After", "5")
    assert answer.status == status and answer.headers["Retry-After"] == wait, answer
    assert (await api.get(f"{path}/doctor")).status == status


async def test_a_step_that_fails_is_told_with_the_carrier_s_words_and_gone_on_from(
    api: Api, twilio: TwilioServer
):
    path = await integration(api)
    body = twilio_server.twilio_error(400, 21219, "that is not allowed here")
    twilio.fail("POST /v1/Trunks/{TrunkSid}/OriginationUrls", Fault("refused", 400, body))
    answer = await api.post(f"{path}/setup", {})
    assert changes(answer) == [
        ("create trunk", "done"),
        ("add origination", "failed"),
        ("attach number", "not tried"),
    ]
    assert "not allowed here" in answer.body["steps"][1]["error"] and answer.body["complete"] is False
    again = await api.post(f"{path}/setup", {})
    assert changes(again) == [("add origination", "done"), ("attach number", "done")]


async def test_two_at_once_are_one_after_the_other(api: Api, twilio: TwilioServer):
    path = await integration(api)
    answers = await asyncio.gather(*(api.post(f"{path}/setup", {}) for _ in range(3)))
    statuses = {answer.status for answer in answers}
    assert 200 in statuses and statuses <= {200, 409}
    assert len(twilio.trunks) == 1


async def test_a_retry_with_the_same_key_is_answered_alike(api: Api, twilio: TwilioServer):
    path = await integration(api)
    first = await api.post(f"{path}/setup", {}, Idempotency_Key="once")
    again = await api.post(f"{path}/setup", {}, Idempotency_Key="once")
    assert first.body == again.body and first.body["complete"]


async def test_who_may_only_read_may_examine_and_not_set_up(api: Api):
    path = await integration(api)
    key = (await api.post("/v1/api-keys", {"name": "reader", "scopes": ["read"]})).body["key"]
    assert (await api.get(f"{path}/doctor", key=key)).status == 200
    assert (await api.post(f"{path}/setup", {}, key=key)).status == 403


async def test_an_integration_that_is_not_there(api: Api):
    assert (await api.post("/v1/integrations/crd_none/setup", {})).status == 404
    assert (await api.get("/v1/integrations/crd_none/doctor")).status == 404


async def test_without_nodes_nothing_is_set_up(tmp_path: Path, twilio: TwilioServer):
    async with running_api(tmp_path, carrier_urls=(twilio.address, "")) as api:
        path = await integration(api)
        answer = await api.post(f"{path}/setup", {})
        assert answer.status == 422 and "carriers.nodes" in answer.body["detail"]
        report = await api.get(f"{path}/doctor")
        assert report.body["findings"][0]["check"] == "nodes"


@pytest.mark.parametrize(
    "nodes", [("voice.example.com:99999",), tuple(f"v{n}.example.com" for n in range(11))]
)
async def test_nodes_that_are_none_keep_it_from_starting(tmp_path: Path, nodes: tuple[str, ...]):
    service = ApiService(tmp_path, version="0", bootstrap_key=KEY, carrier_nodes=nodes)
    with pytest.raises(ApiStartError, match=r"carriers\.nodes"):
        await service.open()


def loaded_with(module: str, found: set[str]) -> set[str]:
    """What importing a module of the API imports, ours and others', as far as it stands at the top of files."""
    path = ROOT / Path(*module.split(".")).with_suffix(".py")
    if module in found or not path.exists():
        return found | {module}
    found = found | {module}
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            found = loaded_with(statement.module or "", found)
    return found


def test_a_gateway_starts_without_the_carriers_sdks():
    """Importing Telnyx's alone takes seconds of CPU: nobody waits for it who asks no carrier."""
    loaded = loaded_with("api.service", set())
    assert "api.carriers.wiring" in loaded
    assert not {
        name for name in loaded if name.partition(".")[0] == "telnyx" or name.startswith("twilio.rest")
    }

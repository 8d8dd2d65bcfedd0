"""From a request to a number whose calls come here, and back: at a local Twilio and a local Telnyx, failing at every step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.api.http.faulty_carrier import Clock
from tests.api.http.rig import Answer, Api, running_api
from tests.api.http.test_carrier_setup import integration
from tests.carriers import telnyx_server, twilio_server
from tests.carriers.faults import Fault
from tests.carriers.telnyx_server import TelnyxServer
from tests.carriers.twilio_server import TwilioServer

NUMBER, OTHER = "+14155550111", "+14155550112"
NODES = ("voice.example.com:5060",)
STEPS = ["purchase", "trunk", "origination", "attachment", "permissions"]

TWILIO_WRITES = {
    "trunk": "POST /v1/Trunks",
    "origination": "POST /v1/Trunks/{TrunkSid}/OriginationUrls",
    "attachment": "POST /2010-04-01/Accounts/{AccountSid}/IncomingPhoneNumbers/{Sid}.json",
}
TELNYX_WRITES = {
    "trunk": "POST /fqdn_connections",
    "origination": "POST /fqdns",
    "attachment": "PATCH /phone_numbers/{id}",
}
BUY = {
    "twilio": "POST /2010-04-01/Accounts/{AccountSid}/IncomingPhoneNumbers.json",
    "telnyx": "POST /number_orders",
}
RELEASE = {
    "twilio": "DELETE /2010-04-01/Accounts/{AccountSid}/IncomingPhoneNumbers/{Sid}.json",
    "telnyx": "DELETE /phone_numbers/{id}",
}


@dataclass
class Office:
    """An API whose numbers come from one carrier. path: of the integration."""

    api: Api
    server: TwilioServer | TelnyxServer
    carrier: str
    path: str
    clock: Clock

    @property
    def credential_id(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def writes(self) -> dict[str, str]:
        return TWILIO_WRITES if self.carrier == "twilio" else TELNYX_WRITES

    @property
    def internal(self) -> Any:
        return twilio_server.INTERNAL if self.carrier == "twilio" else telnyx_server.INTERNAL

    async def buy(self, phone_number: str | None = NUMBER, **fields: Any) -> Answer:
        headers = {"Idempotency_Key": fields.pop("key")} if "key" in fields else {}
        body = {"phone_number": phone_number} if phone_number else {"country": "US", "area_code": "415"}
        body |= {"credential_id": self.credential_id} | fields
        return await self.api.post("/v1/phone-numbers/purchase", body, **headers)

    async def numbers(self) -> list[tuple[str, str]]:
        items = (await self.api.get("/v1/phone-numbers")).body["items"]
        return [(item["phone_number"], item["status"]) for item in items]

    async def provisioning(self) -> dict[str, Any]:
        [item] = (await self.api.get("/v1/phone-numbers")).body["items"]
        return dict((await self.api.get(f"/v1/phone-numbers/{item['id']}/provisioning")).body)

    async def come_to_rest(self) -> None:
        """Let time go by until nothing is left to do."""
        for _ in range(20):
            if all(status == "active" for _, status in await self.numbers()):
                return
            await self.clock.pass_by(700.0)
        raise AssertionError(await self.provisioning())

    def assert_wired(self, *phone_numbers: str) -> None:
        """Each is ours once, and its calls come here by one trunk and one destination."""
        server = self.server
        owned = [each["phone_number"] for each in server.numbers.values()]
        assert sorted(owned) == sorted(phone_numbers)
        assert server.bought == len(phone_numbers)
        if isinstance(server, TwilioServer):
            [trunk] = server.trunks
            assert {each["trunk_sid"] for each in server.numbers.values()} == {trunk}
            [url] = server.origination[trunk].values()
            assert url["sip_url"] == "sip:voice.example.com:5060"
            assert (url["priority"], url["weight"], url["enabled"]) == (10, 10, True)
        else:
            [connection] = server.connections.values()
            assert {each["connection_id"] for each in server.numbers.values()} == {connection["id"]}
            [fqdn] = server.fqdns.values()
            assert (fqdn["fqdn"], fqdn["port"]) == ("voice.example.com", 5060)
            assert connection["inbound"]["default_primary_fqdn_id"] == fqdn["id"]
            assert connection["inbound"]["dnis_number_format"] == "+e164"
            assert connection["inbound"]["timeout_1xx_secs"] and connection["inbound"]["timeout_2xx_secs"]


@pytest.fixture(params=["twilio", "telnyx"])
async def office(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Office]:
    monkeypatch.setattr("api.purchases.WAITED_SECONDS", 0.0)
    server = TwilioServer() if request.param == "twilio" else TelnyxServer()
    server.sell(NUMBER, OTHER)
    async with server.running() as address:
        options = {"carrier_nodes": NODES, "carrier_urls": (address, address), "seller": request.param}
        async with running_api(tmp_path, **options) as api:
            path = await integration(api, request.param)
            yield Office(api, server, request.param, path, Clock(api.service))
    server.check()


async def bought(office: Office, answer: Answer) -> dict[str, Any]:
    """The number of an answer, once nothing is left to do: Telnyx's orders take their time."""
    assert answer.status == (201 if office.carrier == "twilio" else 202), answer
    await office.come_to_rest()
    number = await office.api.get(f"/v1/phone-numbers/{answer.body['id']}")
    return dict(number.body)


async def test_a_number_is_bought_and_wired_in_one_step_and_released(office: Office):
    number = await bought(office, await office.buy(friendly_name="Sales Line"))
    office.assert_wired(NUMBER)
    assert (number["status"], number["provisioning"], number["purchased"]) == ("active", None, True)
    assert (number["provider"], number["credential_id"]) == (office.carrier, office.credential_id)
    trunks = office.server.trunks if isinstance(office.server, TwilioServer) else office.server.connections
    assert number["inbound_trunk_id"] in trunks
    assert number["inbound_trunk_id"] == number["outbound_trunk_id"]
    done = await office.provisioning()
    assert [(each["step"], each["status"]) for each in done["steps"]] == [(each, "done") for each in STEPS]
    times = [time for each in done["steps"] for time in (each["started_at"], each["finished_at"])]
    assert times == sorted(times)
    assert (await office.api.delete(f"/v1/phone-numbers/{number['id']}")).status == 204
    assert office.server.numbers == {} and await office.numbers() == []


async def test_the_second_number_finds_the_trunk_of_the_first(office: Office):
    await bought(office, await office.buy())
    await bought(office, await office.buy(OTHER))
    office.assert_wired(NUMBER, OTHER)


async def test_without_an_integration_the_configuration_says_who_pays(office: Office):
    answer = await office.api.post("/v1/phone-numbers/purchase", {"country": "US", "area_code": "415"})
    number = await bought(office, answer)
    assert (number["phone_number"], number["credential_id"]) == (NUMBER, office.credential_id)
    found = await office.api.get("/v1/phone-numbers/search?country=US&area_code=415&capabilities=voice,sms")
    assert [each["phone_number"] for each in found.body["items"]] == [OTHER]
    await integration(office.api, office.carrier)
    for ambiguous in (
        await office.api.get("/v1/phone-numbers/search?country=US"),
        await office.api.post("/v1/phone-numbers/purchase", {"country": "US"}),
    ):
        assert (ambiguous.status, ambiguous.body["errors"][0]["field"]) == (422, "credential_id")


async def test_an_integration_that_is_not_there_is_told(office: Office):
    unknown = await office.buy(credential_id="crd_nobody")
    assert (unknown.status, unknown.body["errors"][0]["field"]) == (422, "credential_id")
    assert office.server.asked == []


@pytest.mark.parametrize("step", ["trunk", "origination", "attachment"])
@pytest.mark.parametrize("kind", ["refused", "dropped"])
async def test_a_step_that_fails_is_told_tried_again_and_done_once(office: Office, step: str, kind: str):
    fault = Fault("refused", 500, office.internal) if kind == "refused" else Fault("dropped")
    office.server.fail(office.writes[step], fault)
    answer = await office.buy()
    assert answer.status == 202, answer
    if office.carrier == "telnyx":  # its order comes through first
        assert await office.clock.pass_by(1.0) == 1
    stands = await office.provisioning()
    assert stands["state"] == "wiring" and stands["attempts"] == 1
    [failed] = [each for each in stands["steps"] if each.get("error")]
    assert (failed["step"], failed["status"]) == (step, "pending")
    assert [each["status"] for each in stands["steps"][: STEPS.index(step)]] == ["done"] * STEPS.index(step)
    await office.come_to_rest()
    office.assert_wired(NUMBER)
    assert len(office.server.requests(BUY[office.carrier])) == 1


async def test_a_refusal_after_the_purchase_is_told_and_keeps_the_number(office: Office):
    """It is paid for: somebody has to do something, and then it goes on by itself; or it is deleted."""
    body = (
        twilio_server.twilio_error(400, 21219, "the trunk is not allowed")
        if office.carrier == "twilio"
        else telnyx_server.telnyx_error("10015", "Bad Request", "the trunk is not allowed")
    )
    office.server.fail(office.writes["trunk"], Fault("refused", 400, body, times=2))
    answer = await office.buy()
    if office.carrier == "telnyx":
        await office.clock.pass_by(1.0)
    assert answer.status == 202
    stands = await office.provisioning()
    failed = stands["steps"][1]
    assert (failed["step"], failed["status"]) == ("trunk", "failed")
    assert "not allowed" in failed["error"]
    assert (await office.api.delete(f"/v1/phone-numbers/{answer.body['id']}")).status == 204
    assert office.server.numbers == {} and await office.numbers() == []


@pytest.mark.parametrize("kind", ["silent", "dropped"])
async def test_a_purchase_whose_answer_is_lost_is_paid_once_and_not_lost(
    office: Office, kind: str, monkeypatch: pytest.MonkeyPatch
):
    if kind == "silent":
        monkeypatch.setattr(f"api.carriers.{office.carrier}_sdk.CALL_SECONDS", 1.0)
    office.server.fail(BUY[office.carrier], Fault("silent") if kind == "silent" else Fault("dropped"))
    answer = await office.buy(key="one")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert (await office.provisioning())["state"] == "buying"
    again = await office.buy(key="one")
    assert again.status == 202, "it tells how far it is"
    await office.come_to_rest()
    assert (await office.buy(key="one")).status == 201
    office.assert_wired(NUMBER)
    assert len(office.server.requests(BUY[office.carrier])) == 1


async def test_what_the_carrier_lists_later_is_waited_for(office: Office):
    office.server.unseen = 2
    answer = await office.buy()
    assert answer.status in {201, 202}, answer
    await office.come_to_rest()
    office.assert_wired(NUMBER)


async def test_a_number_that_is_gone_is_followed_by_the_next(office: Office):
    office.server.for_sale.insert(0, replace_gone(office))
    answer = await office.buy(None)
    number = await bought(office, answer)
    assert number["phone_number"] == NUMBER
    office.assert_wired(NUMBER)
    assert len(office.server.requests(BUY[office.carrier])) == 2


def replace_gone(office: Office) -> Any:
    """An offer that the search still finds, and that somebody else has: 21422, or code 10027."""
    if isinstance(office.server, TwilioServer):
        office.server.fail(
            BUY["twilio"],
            Fault("refused", 400, twilio_server.twilio_error(400, 21422, "+14155550110 is not available.")),
        )
        return twilio_server.Sellable("+14155550110")
    office.server.fail(
        BUY["telnyx"],
        Fault("refused", 400, telnyx_server.telnyx_error("10027", "Phone number not available", "gone")),
    )
    return telnyx_server.Sellable("+14155550110")


async def test_a_telnyx_order_that_fails_while_it_is_waited_for_is_followed_by_the_next(
    tmp_path: Path,
):
    server = TelnyxServer()
    server.sell("+14155550110", gone=True)
    server.sell(NUMBER)
    async with (
        server.running() as address,
        running_api(tmp_path, carrier_nodes=NODES, carrier_urls=("", address), seller="telnyx") as api,
    ):
        await integration(api, "telnyx")
        answer = await api.post("/v1/phone-numbers/purchase", {"country": "US", "area_code": "415"})
        assert (answer.status, answer.body["phone_number"]) == (201, NUMBER)
        assert [each["phone_number"] for each in server.numbers.values()] == [NUMBER]
        assert len(server.orders) == 2
        assert len((await api.get("/v1/phone-numbers")).body["items"]) == 1
    server.check()


async def test_two_at_once_make_one_trunk_and_one_destination(office: Office):
    answers = await asyncio.gather(office.buy(), office.buy(OTHER))
    assert {answer.status for answer in answers} <= {201, 202}
    await office.come_to_rest()
    office.assert_wired(NUMBER, OTHER)


async def test_a_throttled_purchase_buys_nothing_and_passes_the_wait_on(office: Office):
    too_many = twilio_server.TOO_MANY if office.carrier == "twilio" else telnyx_server.TOO_MANY
    office.server.fail(BUY[office.carrier], Fault("refused", 429, too_many, {"Retry-After": "40"}))
    answer = await office.buy()
    assert (answer.status, answer.headers["Retry-After"]) == (429, "40")
    assert answer.body["type"] == "/docs/problems#carrier-throttled"
    assert await office.numbers() == [] and office.server.bought == 0
    assert len(office.server.requests(BUY[office.carrier])) == 1


async def test_a_carrier_s_outage_leaves_the_deletion_pending_and_seen(office: Office):
    number = await bought(office, await office.buy())
    office.server.fail(RELEASE[office.carrier], Fault("refused", 503, "<html>down</html>", times=2))
    accepted = await office.api.delete(f"/v1/phone-numbers/{number['id']}")
    assert (accepted.status, accepted.body["status"]) == (202, "releasing")
    [step] = accepted.body["provisioning"]["steps"]
    assert (step["step"], step["status"]) == ("release", "pending") and "503" in step["error"]
    assert await office.clock.pass_by(1.0) == 1
    assert await office.numbers() == [(NUMBER, "releasing")]
    assert await office.clock.pass_by(1.0) == 1
    assert await office.numbers() == [] and office.server.numbers == {}


async def test_who_pays_for_numbers_cannot_be_taken_away(office: Office):
    number = await bought(office, await office.buy())
    for query in ("", "?force=true"):
        refused = await office.api.delete(office.path + query)
        assert (refused.status, refused.body["type"]) == (409, "/docs/problems#in-use")
        assert refused.body["numbers"] == [{"id": number["id"], "phone_number": NUMBER}]
    other = {"metadata": {"account_sid": "AC" + "9" * 32}}
    assert (await office.api.patch(office.path, other)).status == 409
    assert (await office.api.patch(office.path, {"name": "Main account"})).status == 200
    moved = await office.api.patch(f"/v1/phone-numbers/{number['id']}", {"credential_id": None})
    assert moved.status == 200
    assert (await office.api.delete(f"/v1/phone-numbers/{number['id']}")).status == 204
    assert office.server.numbers == {}, "released with the account that had bought it"
    assert (await office.api.delete(office.path)).status == 204


async def test_a_key_that_was_changed_is_told_and_used_once_it_is_right(office: Office):
    key = (
        ("auth_token", twilio_server.AUTH_TOKEN)
        if office.carrier == "twilio"
        else ("api_key", telnyx_server.API_KEY)
    )
    refused = await office.api.patch(office.path, {"api_key": "wrong"})
    assert refused.status == 200
    answer = await office.buy()
    assert (answer.status, answer.body["type"]) == (409, "/docs/problems#credentials-refused")
    assert await office.numbers() == []
    await office.api.patch(office.path, {"api_key": key[1]})
    await bought(office, await office.buy())


async def test_without_nodes_nothing_is_bought(tmp_path: Path):
    server = TwilioServer()
    server.sell(NUMBER)
    async with (
        server.running() as address,
        running_api(tmp_path, carrier_urls=(address, ""), seller="twilio") as api,
    ):
        await integration(api, "twilio")
        answer = await api.post("/v1/phone-numbers/purchase", {"phone_number": NUMBER})
    assert (answer.status, answer.body["errors"][0]["field"]) == (422, "carriers.nodes")
    assert server.asked == []


async def test_telnyx_buys_nothing_whose_calls_it_could_not_send(tmp_path: Path):
    server = TelnyxServer()
    server.sell(NUMBER)
    async with (
        server.running() as address,
        running_api(
            tmp_path, carrier_nodes=("192.0.2.1:5060",), carrier_urls=("", address), seller="telnyx"
        ) as api,
    ):
        await integration(api, "telnyx")
        answer = await api.post("/v1/phone-numbers/purchase", {"phone_number": NUMBER})
    assert (answer.status, answer.body["errors"][0]["field"]) == (422, "carriers.nodes")
    assert server.changes() == []


async def test_a_webhook_hastens_the_number_of_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from api.carriers.events import CarrierEvent

    monkeypatch.setattr("api.purchases.WAITED_SECONDS", 0.0)
    server = TelnyxServer(order_looks=4)
    server.sell(NUMBER)
    async with (
        server.running() as address,
        running_api(tmp_path, carrier_nodes=NODES, carrier_urls=("", address), seller="telnyx") as api,
    ):
        await integration(api, "telnyx")
        clock = Clock(api.service)
        assert (await api.post("/v1/phone-numbers/purchase", {"phone_number": NUMBER})).status == 202
        for pause in (1.0, 1.0, 2.0):
            assert await clock.pass_by(pause) == 1
        assert await clock.pass_by(0.1) == 0, "its turn comes in three seconds"
        [order] = server.orders.values()
        server.settle(order["id"])
        event = CarrierEvent("evt_1", "number_order.complete", order=order["id"], status="success")
        await api.service.worker.hasten(event)
        assert await clock.pass_by(0.0) == 0, "nobody knows whose it is"
        await api.service.worker.hasten(replace(event, reference=order["customer_reference"]))
        assert await clock.pass_by(0.0) == 1
        assert (await api.get("/v1/phone-numbers")).body["items"][0]["status"] == "active"
    server.check()


async def test_countries_that_may_not_be_called_are_noted(tmp_path: Path):
    server = TwilioServer(countries={"US": False})
    server.sell(NUMBER)
    async with (
        server.running() as address,
        running_api(tmp_path, carrier_nodes=NODES, carrier_urls=(address, ""), seller="twilio") as api,
    ):
        await integration(api, "twilio")
        answer = await api.post("/v1/phone-numbers/purchase", {"phone_number": NUMBER})
        assert answer.status == 201, "calls to it come all the same"
        steps = (await api.get(f"/v1/phone-numbers/{answer.body['id']}/provisioning")).body["steps"]
    assert steps[-1]["step"] == "permissions" and "403" in steps[-1]["note"]

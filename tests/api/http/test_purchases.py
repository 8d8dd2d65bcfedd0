"""Buying and releasing, at the sandbox and at a carrier that fails in every way that carriers do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from api.carriers.base import (
    AvailableNumber,
    Carrier,
    CarrierError,
    CarrierUnavailable,
    NumberQuery,
    NumberUnavailable,
)
from api.carriers.sandbox import FILE, SandboxCarrier
from api.purchases import Purchases
from tests.api.http.rig import Answer, Api, running_api


class Faulty:
    """The sandbox, failing as it is told, before or after it has done what it was asked."""

    name = "sandbox"

    def __init__(self, carrier: SandboxCarrier) -> None:
        self._carrier = carrier
        self.before: list[CarrierError] = []
        self.after: list[CarrierError] = []

    async def search(self, query: NumberQuery) -> Sequence[AvailableNumber]:
        self._fail(self.before)
        return await self._carrier.search(query)

    async def purchase(self, phone_number: str, reference: str) -> None:
        self._fail(self.before)
        await self._carrier.purchase(phone_number, reference)
        self._fail(self.after)

    async def release(self, phone_number: str, reference: str) -> None:
        self._fail(self.before)
        await self._carrier.release(phone_number, reference)
        self._fail(self.after)

    async def purchased(self, reference: str) -> str | None:
        self._fail(self.before)
        return await self._carrier.purchased(reference)

    @staticmethod
    def _fail(faults: list[CarrierError]) -> None:
        if faults:
            raise faults.pop(0)


@pytest.fixture
async def faulty(api: Api, tmp_path: Path) -> AsyncIterator[Faulty]:
    sandbox = SandboxCarrier(tmp_path / FILE)
    carrier = Faulty(sandbox)
    purchases = api.service.purchases
    purchases._carriers, purchases._seller = {"sandbox": carrier}, carrier
    yield carrier
    await sandbox.close()


BUY = {"phone_number": "+14155550123"}


async def buy(api: Api, **headers: str) -> Answer:
    return await api.post("/v1/phone-numbers/purchase", BUY, **headers)


async def numbers(api: Api) -> list[tuple[str, str | None]]:
    items = (await api.get("/v1/phone-numbers")).body["items"]
    return [(item["phone_number"], item["provisioning"]) for item in items]


async def test_search_buy_and_release(agents: Api) -> None:
    found = (await agents.get("/v1/phone-numbers/search?country=US&area_code=212&limit=2")).body["items"]
    phone_number = found[0]["phone_number"]
    bought = await agents.post(
        "/v1/phone-numbers/purchase", {"phone_number": phone_number, "agent_id": "agt_sales"}
    )
    assert (bought.status, bought.body["purchased"], bought.body["provider"]) == (201, True, "sandbox")
    again = (await agents.get("/v1/phone-numbers/search?country=US&area_code=212&limit=2")).body["items"]
    assert again[0] == found[1]
    assert (await agents.delete(f"/v1/phone-numbers/{bought.body['id']}")).status == 204
    released = (await agents.get("/v1/phone-numbers/search?country=US&area_code=212&limit=2")).body["items"]
    assert released == found


async def test_a_number_brought_along_is_only_forgotten(api: Api, faulty: Faulty) -> None:
    number = await api.number("+14155550123")
    faulty.before = [CarrierError("must not be asked")]
    assert (await api.delete(f"/v1/phone-numbers/{number['id']}")).status == 204
    assert faulty.before


async def test_auto_assignment_passes_over_numbers_that_are_here_already(api: Api) -> None:
    await api.number("+14155550100")
    bought = await api.post("/v1/phone-numbers/purchase", {"country": "US", "area_code": "415"})
    assert bought.body["phone_number"] == "+14155550101"


async def test_auto_assignment_at_the_same_time_gives_each_a_number(api: Api) -> None:
    body = {"country": "US", "area_code": "415"}
    answers = await asyncio.gather(*(api.post("/v1/phone-numbers/purchase", body) for _ in range(4)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["phone_number"] for answer in answers}) == 4


async def test_nothing_like_it(api: Api) -> None:
    none = await api.post("/v1/phone-numbers/purchase", {"country": "US", "area_code": "999"})
    assert (none.status, none.body["type"]) == (409, "/docs/problems#number-unavailable")
    unknown = await api.post("/v1/phone-numbers/purchase", {"phone_number": "+4930123456"})
    assert unknown.status == 409
    abroad = await api.get("/v1/phone-numbers/search?country=DE")
    assert (abroad.status, abroad.body["errors"][0]["field"]) == (422, "country")
    both = await api.post("/v1/phone-numbers/purchase", {**BUY, "area_code": "415"})
    assert both.status == 422
    assert await numbers(api) == []


async def test_a_purchase_for_an_agent_that_does_not_exist_buys_nothing(api: Api, faulty: Faulty) -> None:
    faulty.before = [CarrierError("must not be asked")]
    answer = await api.post("/v1/phone-numbers/purchase", {**BUY, "agent_id": "agt_nobody"})
    assert (answer.status, answer.body["errors"][0]["field"]) == (422, "agent_id")
    assert faulty.before


async def test_a_refusal_is_told_and_leaves_nothing(api: Api, faulty: Faulty) -> None:
    faulty.before = [CarrierError("no credit left")]
    answer = await buy(api)
    assert (answer.status, answer.body["type"]) == (502, "/docs/problems#carrier-failed")
    assert "no credit left" in answer.body["detail"]
    assert await numbers(api) == []


async def test_a_number_sold_meanwhile_is_told_and_leaves_nothing(api: Api, faulty: Faulty) -> None:
    faulty.before = [NumberUnavailable("sold")]
    assert (await buy(api)).status == 409
    assert await numbers(api) == []


async def test_an_answer_that_was_lost_after_the_sale_is_found_again(api: Api, faulty: Faulty) -> None:
    faulty.after = [CarrierUnavailable("connection reset")]
    answer = await buy(api, Idempotency_Key="one")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert await numbers(api) == [("+14155550123", "buying")]
    busy = await buy(api, Idempotency_Key="one")
    assert (busy.status, busy.body["type"]) == (409, "/docs/problems#in-progress")
    assert await api.service.purchases.recover(grace=-1) == 0
    assert await numbers(api) == [("+14155550123", None)]
    again = await buy(api, Idempotency_Key="one")
    assert (again.status, again.body["phone_number"]) == (201, "+14155550123")


async def test_a_sale_that_did_not_happen_is_undone(api: Api, faulty: Faulty) -> None:
    faulty.before = [CarrierUnavailable("timed out")]
    assert (await buy(api)).status == 503
    faulty.before = [CarrierUnavailable("still away")]
    assert await api.service.purchases.recover(grace=-1) == 1, "nobody knows yet"
    assert await numbers(api) == [("+14155550123", "buying")]
    assert await api.service.purchases.recover(grace=-1) == 0
    assert await numbers(api) == []


async def test_a_number_that_is_being_bought_is_left_alone(api: Api, faulty: Faulty) -> None:
    faulty.before = [CarrierUnavailable("timed out")]
    await buy(api)
    [item] = (await api.get("/v1/phone-numbers")).body["items"]
    path = f"/v1/phone-numbers/{item['id']}"
    for answer in (await api.patch(path, {"friendly_name": "x"}), await api.delete(path)):
        assert (answer.status, answer.headers["Retry-After"]) == (409, "2")
    assert await api.service.purchases.recover(grace=3600) == 0, "not abandoned yet"
    assert await numbers(api) == [("+14155550123", "buying")]


async def test_a_release_that_fails_is_tried_again_and_takes_no_calls_meanwhile(
    api: Api, faulty: Faulty
) -> None:
    bought = (await buy(api)).body
    faulty.before = [CarrierUnavailable("away")]
    accepted = await api.delete(f"/v1/phone-numbers/{bought['id']}")
    assert (accepted.status, accepted.body["provisioning"]) == (202, "releasing")
    outbox = api.service._outbox
    routes = await api.service.database.read(
        lambda session: outbox.records(session, "number", ["+14155550123"])
    )
    assert routes == {}
    assert await api.service.purchases.recover(grace=-1) == 0
    assert await numbers(api) == []
    assert (await buy(api)).status == 201, "and it can be bought again"


async def test_a_crash_between_sale_and_commit_is_settled_at_the_next_start(tmp_path: Path) -> None:
    dead = asyncio.Event()
    async with running_api(tmp_path) as api:
        purchases: Purchases = api.service.purchases
        carrier: Carrier = purchases._seller
        sold = asyncio.Event()

        class Dying(Faulty):
            async def purchase(self, phone_number: str, reference: str) -> None:
                await carrier.purchase(phone_number, reference)
                sold.set()
                await dead.wait()  # the process ends here
                raise CarrierUnavailable("too late")

        assert isinstance(carrier, SandboxCarrier)
        purchases._seller = Dying(carrier)
        dying = asyncio.create_task(buy(api))
        await sold.wait()
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
    async with running_api(tmp_path) as api:
        assert await numbers(api) == [("+14155550123", "buying")]
        await api.service.purchases.recover(grace=-1)
        dead.set()
        assert await numbers(api) == [("+14155550123", None)]

"""Buying and releasing, at the sandbox and at a carrier that fails in every way that carriers do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api import provisioning_worker
from api.carriers.base import (
    AccountSuspended,
    CarrierError,
    CarrierUnavailable,
    CredentialsRefused,
    DocumentsNeeded,
    InsufficientFunds,
    NotConnected,
    NumberUnavailable,
    Purchase,
    Throttled,
)
from api.carriers.sandbox import FILE, SandboxCarrier
from api.provisioning import FORGET_SECONDS, GRACE_SECONDS, LEASE_SECONDS, PAUSES
from tests.api.http.faulty_carrier import Clock, FaultyCarrier
from tests.api.http.rig import Answer, Api, running_api


@pytest.fixture
async def faulty(api: Api, tmp_path: Path) -> AsyncIterator[FaultyCarrier]:
    sandbox = SandboxCarrier(tmp_path / FILE)
    carrier = FaultyCarrier(sandbox)
    api.service.accounts._sandbox = carrier
    yield carrier
    await sandbox.close()


@pytest.fixture
def clock(api: Api) -> Clock:
    return Clock(api.service)


NUMBER = "+14155550123"
BUY = {"phone_number": NUMBER}


async def buy(api: Api, **headers: str) -> Answer:
    return await api.post("/v1/phone-numbers/purchase", BUY, **headers)


async def numbers(api: Api) -> list[tuple[str, str]]:
    items = (await api.get("/v1/phone-numbers")).body["items"]
    return [(item["phone_number"], item["status"]) for item in items]


async def only(api: Api) -> dict[str, Any]:
    [item] = (await api.get("/v1/phone-numbers")).body["items"]
    return dict(item)


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


async def test_a_number_brought_along_is_only_forgotten(api: Api, faulty: FaultyCarrier) -> None:
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


async def test_the_same_request_twice_at_once_buys_once(api: Api, faulty: FaultyCarrier) -> None:
    body = {"country": "US", "area_code": "415"}
    answers = await asyncio.gather(
        *(api.post("/v1/phone-numbers/purchase", body, Idempotency_Key="one") for _ in range(4))
    )
    assert {answer.status for answer in answers} <= {201, 409}
    assert len(faulty.asked) == 1 and len(await numbers(api)) == 1


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


async def test_a_purchase_for_an_agent_that_does_not_exist_buys_nothing(
    api: Api, faulty: FaultyCarrier
) -> None:
    faulty.before = [CarrierError("must not be asked")]
    answer = await api.post("/v1/phone-numbers/purchase", {**BUY, "agent_id": "agt_nobody"})
    assert (answer.status, answer.body["errors"][0]["field"]) == (422, "agent_id")
    assert faulty.before


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (CarrierError("not today"), 502, "carrier-failed"),
        (NumberUnavailable("sold"), 409, "number-unavailable"),
        (InsufficientFunds("no credit left"), 402, "insufficient-funds"),
        (DocumentsNeeded("a bundle"), 409, "documents-needed"),
        (CredentialsRefused("no such key"), 409, "credentials-refused"),
        (AccountSuspended("unpaid"), 409, "account-suspended"),
        (Throttled("too many", 17), 429, "carrier-throttled"),
        (NotConnected("connection refused"), 503, "unavailable"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_refusal_is_told_and_leaves_nothing(
    api: Api, faulty: FaultyCarrier, error: CarrierError, status: int, kind: str
) -> None:
    faulty.before = [error]
    answer = await buy(api)
    assert (answer.status, answer.body["type"]) == (status, f"/docs/problems#{kind}")
    assert str(error) in answer.body["detail"]
    if status in {429, 503}:
        assert answer.headers["Retry-After"] == ("17" if status == 429 else "5")
    assert await numbers(api) == []
    assert (await buy(api)).status == 201, "and it can be bought after all"


async def test_the_next_number_is_taken_if_one_is_gone_and_not_without_end(
    api: Api, faulty: FaultyCarrier
) -> None:
    faulty.before = [NumberUnavailable("sold"), NumberUnavailable("sold")]
    bought = await api.post("/v1/phone-numbers/purchase", {"country": "US", "area_code": "415"})
    assert (bought.status, bought.body["phone_number"]) == (201, "+14155550102")
    assert faulty.asked == ["+14155550100", "+14155550101", "+14155550102"]
    faulty.before = [NumberUnavailable("sold") for _ in range(50)]
    faulty.asked.clear()
    none = await api.post("/v1/phone-numbers/purchase", {"country": "US", "area_code": "415"})
    assert (none.status, none.body["type"]) == (409, "/docs/problems#number-unavailable")
    assert len(faulty.asked) == 5
    assert await numbers(api) == [("+14155550102", "active")]


async def test_an_answer_that_was_lost_after_the_sale_is_found_again(
    api: Api, faulty: FaultyCarrier, clock: Clock
) -> None:
    faulty.after = [CarrierUnavailable("connection reset")]
    answer = await buy(api, Idempotency_Key="one")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    number = await only(api)
    assert (number["status"], number["provisioning"]["state"]) == ("pending", "buying")
    [step] = number["provisioning"]["steps"]
    assert (step["step"], step["status"], step["error"]) == ("purchase", "pending", "connection reset")
    assert number["provisioning"]["next_attempt_at"] > number["updated_at"][:4]
    assert await clock.pass_by(0.5) == 0, "not due yet"
    assert await clock.pass_by(0.5) == 1
    assert await numbers(api) == [(NUMBER, "active")]
    again = await buy(api, Idempotency_Key="one")
    assert (again.status, again.body["phone_number"], again.body["provisioning"]) == (201, NUMBER, None)
    assert faulty.asked == [NUMBER]
    done = await api.get(f"/v1/phone-numbers/{number['id']}/provisioning")
    assert done.body["state"] == "finished"
    assert [(each["step"], each["status"]) for each in done.body["steps"]] == [("purchase", "done")]
    assert done.body["steps"][0]["finished_at"] >= done.body["steps"][0]["started_at"]


async def test_a_sale_that_did_not_happen_is_undone_but_not_after_one_empty_look(
    api: Api, faulty: FaultyCarrier, clock: Clock
) -> None:
    faulty.before = [CarrierUnavailable("timed out"), CarrierUnavailable("still away")]
    assert (await buy(api)).status == 503
    looks = 0
    for pause in PAUSES[: PAUSES.index(120.0)]:
        assert await numbers(api) == [(NUMBER, "pending")]
        looks += await clock.pass_by(pause)
    assert sum(PAUSES[: PAUSES.index(120.0)]) < GRACE_SECONDS
    assert looks == PAUSES.index(120.0), "at each of its times"
    assert await clock.pass_by(120.0) == 1
    assert await numbers(api) == []
    assert faulty.asked == [NUMBER], "nobody has asked for it again"


async def test_what_shows_only_later_is_not_forgotten(api: Api, faulty: FaultyCarrier, clock: Clock) -> None:
    """The carrier's lists may be behind: an hour of looks, then it must be somebody else's."""
    faulty.after = [CarrierUnavailable("connection reset")]
    await buy(api)
    faulty.looks = [Purchase("unseen")] * 10
    for pause in PAUSES[:10]:
        await clock.pass_by(pause)
        assert await numbers(api) == [(NUMBER, "pending")]
    await clock.pass_by(PAUSES[-1])
    assert await numbers(api) == [(NUMBER, "active")]


async def test_what_does_not_show_for_an_hour_is_given_up_and_told(
    api: Api, faulty: FaultyCarrier, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty.before = [CarrierUnavailable("connection reset")]
    await buy(api)
    faulty.looks = [Purchase("unseen")] * 99
    waited = 0.0
    while await numbers(api):
        await clock.pass_by(PAUSES[-1])
        waited += PAUSES[-1]
    assert waited >= FORGET_SECONDS
    assert "purchase given up" in capsys.readouterr().out


async def test_an_order_that_comes_through_later_is_accepted_and_then_there(
    api: Api, faulty: FaultyCarrier, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.purchases.WAITED_SECONDS", 0.0)

    async def ordered(phone_number: str, reference: str) -> Purchase:
        await sell(phone_number, reference)
        return Purchase("pending", detail="the order is under way")

    sell = faulty.purchase
    monkeypatch.setattr(faulty, "purchase", ordered)
    faulty.looks = [Purchase("pending", detail="the order is under way")]
    accepted = await buy(api, Idempotency_Key="one")
    assert (accepted.status, accepted.body["status"]) == (202, "pending")
    assert accepted.headers["Location"] == f"/v1/phone-numbers/{accepted.body['id']}"
    [step] = accepted.body["provisioning"]["steps"]
    assert (step["status"], step["error"]) == ("pending", "the order is under way")
    again = await buy(api, Idempotency_Key="one")
    assert (again.status, again.body["id"]) == (202, accepted.body["id"]), "an answer for now is not kept"
    assert await clock.pass_by(1.0) == 1
    assert (await buy(api, Idempotency_Key="one")).status == 202
    assert await clock.pass_by(1.0) == 1
    assert (await buy(api, Idempotency_Key="one")).status == 201
    assert len(faulty.asked) == 1


async def test_an_order_that_fails_later_leaves_nothing(
    api: Api, faulty: FaultyCarrier, clock: Clock
) -> None:
    faulty.before = [CarrierUnavailable("timed out")]
    await buy(api)
    faulty.looks = [Purchase("failed", detail="gone")]
    assert await clock.pass_by(1.0) == 1
    assert await numbers(api) == []


async def test_a_number_that_is_worked_on_is_left_alone_and_then_may_be_given_back(
    api: Api, faulty: FaultyCarrier, clock: Clock
) -> None:
    faulty.after = [CarrierUnavailable("timed out")]
    await buy(api)
    path = f"/v1/phone-numbers/{(await only(api))['id']}"
    renamed = await api.patch(path, {"friendly_name": "x"})
    assert (renamed.status, renamed.headers["Retry-After"]) == (409, "2")
    clock.now += 1.0
    assert len(await api.service.worker.take_up(clock.now)) == 1
    busy = await api.delete(path)
    assert (busy.status, busy.body["type"]) == (409, "/docs/problems#in-progress")
    clock.now += LEASE_SECONDS
    faulty.looks = [Purchase("pending", detail="the order is under way")]
    accepted = await api.delete(path)
    assert (accepted.status, accepted.body["status"]) == (202, "releasing")
    assert await clock.pass_by(1.0) == 1
    assert await numbers(api) == []
    assert (await buy(api)).status == 201, "it was given back, and can be bought again"


async def test_a_release_that_fails_is_tried_again_and_takes_no_calls_meanwhile(
    api: Api, faulty: FaultyCarrier, clock: Clock
) -> None:
    bought = (await buy(api)).body
    faulty.before = [CarrierUnavailable("away"), CarrierError("locked"), Throttled("too many", 30)]
    accepted = await api.delete(f"/v1/phone-numbers/{bought['id']}")
    assert (accepted.status, accepted.body["status"]) == (202, "releasing")
    assert accepted.body["provisioning"]["state"] == "releasing"
    outbox = api.service._outbox
    routes = await api.service.database.read(lambda session: outbox.records(session, "number", [NUMBER]))
    assert routes == {}
    assert await clock.pass_by(1.0) == 1
    [step] = (await only(api))["provisioning"]["steps"]
    assert (step["step"], step["status"], step["error"]) == ("release", "failed", "locked")
    assert await clock.pass_by(1.0) == 1
    assert (await only(api))["provisioning"]["attempts"] == 3
    assert await clock.pass_by(29.0) == 0, "as the carrier asked"
    assert await clock.pass_by(1.0) == 1
    assert await numbers(api) == []
    assert (await buy(api)).status == 201, "and it can be bought again"


async def test_a_release_whose_answer_was_lost_does_no_harm(
    api: Api, faulty: FaultyCarrier, clock: Clock
) -> None:
    bought = (await buy(api)).body
    faulty.after = [CarrierUnavailable("connection reset")]
    assert (await api.delete(f"/v1/phone-numbers/{bought['id']}")).status == 202
    again = await api.delete(f"/v1/phone-numbers/{bought['id']}")
    assert again.status == 204, "who asks again makes an attempt at once"


async def test_the_totals_of_lists_know_what_is_under_way(
    api: Api, faulty: FaultyCarrier, clock: Clock
) -> None:
    faulty.after = [CarrierUnavailable("connection reset")]
    await buy(api)

    async def totals() -> dict[str, int]:
        statuses = ("active", "pending", "releasing")
        return {each: (await api.get(f"/v1/phone-numbers?status={each}")).body["total"] for each in statuses}

    assert await totals() == {"active": 0, "pending": 1, "releasing": 0}
    await clock.pass_by(1.0)
    assert await totals() == {"active": 1, "pending": 0, "releasing": 0}
    faulty.before = [CarrierUnavailable("away")]
    await api.delete(f"/v1/phone-numbers/{(await only(api))['id']}")
    assert await totals() == {"active": 0, "pending": 0, "releasing": 1}
    await clock.pass_by(1.0)
    assert await totals() == {"active": 0, "pending": 0, "releasing": 0}


async def test_nothing_is_told_of_carriers_for_a_number_that_was_brought_along(api: Api) -> None:
    number = await api.number("+14155550190")
    assert (await api.get(f"/v1/phone-numbers/{number['id']}/provisioning")).status == 404


async def test_what_is_half_way_is_gone_on_with_by_itself(api: Api, faulty: FaultyCarrier) -> None:
    faulty.after = [CarrierUnavailable("connection reset")]
    assert (await buy(api)).status == 503
    gauge = api.service.metrics.registry.get_sample_value
    async with asyncio.timeout(30):
        while await numbers(api) != [(NUMBER, "active")]:  # noqa: ASYNC110 - another process might do it
            await asyncio.sleep(0.05)
        while gauge("api_numbers_half_way", {"state": "buying"}) != 0.0:  # noqa: ASYNC110 - counted next
            await asyncio.sleep(0.05)


async def test_one_carriers_outage_keeps_no_other_waiting(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each account has places of its own, and each number a time of its own."""
    worker = api.service.worker
    worker._under_way["crd_away"] = provisioning_worker.MAX_PER_ACCOUNT
    sandbox = api.service.accounts._sandbox
    assert isinstance(sandbox, SandboxCarrier)
    faulty = FaultyCarrier(sandbox)
    api.service.accounts._sandbox = faulty
    clock = Clock(api.service)
    faulty.after = [CarrierUnavailable("connection reset")]
    await buy(api)

    def as_if_of_another_account(tx: Any) -> None:
        from api.store.tables import NumberRow

        for last in range(150):
            tx.session.add(
                NumberRow(
                    id=f"phn_{last}",
                    phone_number=f"+1212555{last:04}",
                    provider="twilio",
                    status="pending",
                    provisioning="wiring",
                    reference=f"ref_{last}",
                    account_id="crd_away",
                    due_at=0.0,
                    created_at=tx.now,
                    updated_at=tx.now,
                    version=1,
                )
            )

    await api.service.database.write(as_if_of_another_account)
    assert await clock.pass_by(1.0) == 1, "that one, past a hundred and fifty that have waited for longer"
    assert (await api.get(f"/v1/phone-numbers?phone_number=%2B{NUMBER[1:]}")).body["items"][0][
        "status"
    ] == "active"


async def test_a_crash_between_sale_and_commit_is_settled_at_the_next_start(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        sandbox = api.service.accounts._sandbox
        assert isinstance(sandbox, SandboxCarrier)
        sold, dead = asyncio.Event(), asyncio.Event()

        class Dying(FaultyCarrier):
            async def purchase(self, phone_number: str, reference: str) -> Purchase:
                await sandbox.purchase(phone_number, reference)
                sold.set()
                await dead.wait()  # the process ends here
                raise AssertionError

        api.service.accounts._sandbox = Dying(sandbox)
        dying = asyncio.create_task(buy(api))
        await sold.wait()
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
    async with running_api(tmp_path) as api:
        assert await numbers(api) == [(NUMBER, "pending")]
        clock = Clock(api.service)
        clock.now += 10 * LEASE_SECONDS
        assert await clock.pass_by(0.0) == 1
        dead.set()
        assert await numbers(api) == [(NUMBER, "active")]

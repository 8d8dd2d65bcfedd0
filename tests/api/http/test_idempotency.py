from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, update

from api.store.tables import IdempotencyRow
from tests.api.http.rig import Api

NUMBER = {"phone_number": "+14155550100", "provider": "twilio"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/phone-numbers", NUMBER),
        ("/v1/phone-numbers/purchase", {"country": "US", "area_code": "415"}),
        ("/v1/phone-numbers/import", {"items": [NUMBER]}),
        ("/v1/agents", {"name": "x"}),
        (
            "/v1/integrations",
            {"name": "x", "provider": "twilio", "api_key": "k", "metadata": {"account_sid": "AC1"}},
        ),
        ("/v1/api-keys", {"name": "x"}),
    ],
)
async def test_a_repeated_post_happens_once(api: Api, path: str, body: dict[str, Any]) -> None:
    first = await api.post(path, body, Idempotency_Key="one")
    again = await api.post(path, body, Idempotency_Key="one")
    assert first.status in {200, 201}
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers.get("Location") == first.headers.get("Location")
    assert again.headers.get("ETag") == first.headers.get("ETag")


async def test_at_the_same_time_too(api: Api) -> None:
    posts = [api.post("/v1/agents", {"name": "x"}, Idempotency_Key="one") for _ in range(8)]
    answers = await asyncio.gather(*posts)
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["id"] for answer in answers}) == 1
    assert (await api.get("/v1/agents")).body["total"] == 1


async def test_the_same_key_with_another_request_is_refused(api: Api) -> None:
    await api.post("/v1/agents", {"name": "x"}, Idempotency_Key="one")
    other = await api.post("/v1/agents", {"name": "y"}, Idempotency_Key="one")
    assert (other.status, other.body["type"]) == (422, "/docs/problems#idempotency-key-reused")
    elsewhere = await api.post("/v1/api-keys", {"name": "x"}, Idempotency_Key="one")
    assert elsewhere.status == 422


async def test_keys_of_others_are_their_own(api: Api) -> None:
    made = (await api.post("/v1/api-keys", {"name": "x"})).body["key"]
    mine = await api.post("/v1/agents", {"name": "x"}, Idempotency_Key="one")
    theirs = await api.post("/v1/agents", {"name": "x"}, Idempotency_Key="one", key=made)
    assert theirs.status == 201
    assert theirs.body["id"] != mine.body["id"]


async def test_a_refusal_is_not_kept(api: Api) -> None:
    body = {**NUMBER, "agent_id": "agt_late"}
    assert (await api.post("/v1/phone-numbers", body, Idempotency_Key="one")).status == 422
    await api.agent("agt_late")
    assert (await api.post("/v1/phone-numbers", body, Idempotency_Key="one")).status == 201


async def test_answers_are_kept_sealed_and_forgotten_after_a_day(api: Api) -> None:
    made = await api.post("/v1/api-keys", {"name": "x"}, Idempotency_Key="one")
    rows = await api.service.database.read(lambda session: session.scalars(select(IdempotencyRow)).all())
    assert len(rows) == 1
    assert made.body["key"].encode() not in rows[0].reply

    yesterday = "2020-01-01T00:00:00.000Z"
    await api.service.database.write(
        lambda tx: tx.session.execute(update(IdempotencyRow).values(created_at=yesterday))
    )
    again = await api.post("/v1/api-keys", {"name": "x"}, Idempotency_Key="one")
    assert again.body["id"] != made.body["id"]
    await api.service.database.write(
        lambda tx: tx.session.execute(update(IdempotencyRow).values(created_at=yesterday))
    )
    await api.service.database.write(api.service._replays.forget_old)
    assert not await api.service.database.read(lambda session: session.scalars(select(IdempotencyRow)).all())


@pytest.mark.parametrize("key", ["x" * 256, "a\tb"])
async def test_keys_that_are_none(api: Api, key: str) -> None:
    answer = await api.post("/v1/agents", {"name": "x"}, Idempotency_Key=key)
    assert answer.status == 422
    assert answer.body["errors"][0]["field"] == "Idempotency-Key"

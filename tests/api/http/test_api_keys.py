from __future__ import annotations

import asyncio
import hmac
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from api import access, api_keys
from api.api_keys import KNOWN_SECONDS, KeyRing
from api.store.tables import ApiKeyRow
from tests.api.http.rig import KEY, Api, running_api


async def make(api: Api, *scopes: str, **fields: object) -> dict[str, str]:
    answer = await api.post("/v1/api-keys", {"name": "made", "scopes": list(scopes), **fields})
    assert answer.status == 201
    return dict(answer.body)


async def test_a_key_is_shown_once_and_works_at_once(api: Api) -> None:
    made = await make(api, "read", "write")
    assert made["key"].startswith("oi_sk_")
    listed = (await api.get("/v1/api-keys", key=made["key"])).body
    assert [item["name"] for item in listed["items"]] == ["bootstrap", "made"]
    assert made["key"] not in str(listed)
    assert listed["items"][1]["prefix"] == made["key"][:10]


async def test_only_hashes_are_stored(api: Api) -> None:
    made = await make(api, "read")
    rows = await api.service.database.read(lambda session: session.scalars(select(ApiKeyRow)).all())
    assert made["key"] not in str([vars(row) for row in rows])
    assert access.digest(made["key"]) in {row.digest for row in rows}


async def test_a_reader_may_not_write(api: Api) -> None:
    made = await make(api, "read")
    assert (await api.get("/v1/phone-numbers", key=made["key"])).status == 200
    for method, path in (("POST", "/v1/agents"), ("DELETE", "/v1/agents/x"), ("POST", "/v1/api-keys")):
        refused = await api.ask(method, path, key=made["key"])
        assert refused.status == 403
        assert "insufficient_scope" in refused.headers["WWW-Authenticate"]


async def test_who_may_write_may_read(api: Api) -> None:
    made = await make(api, "write")
    assert (await api.get("/v1/phone-numbers", key=made["key"])).status == 200


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic " + KEY, KEY, "Bearer oi_sk_wrong", "Bearer " + "x" * 300],
)
async def test_without_a_valid_key_there_is_nothing(api: Api, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = await api.get("/v1/phone-numbers", key=None, **headers)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.body["type"] == "/docs/problems#unauthorized"


async def test_a_revoked_key_ends_at_once(api: Api) -> None:
    made = await make(api, "read")
    assert (await api.get("/v1/agents", key=made["key"])).status == 200
    assert (await api.delete(f"/v1/api-keys/{made['id']}")).status == 204
    assert (await api.get("/v1/agents", key=made["key"])).status == 401
    assert (await api.delete(f"/v1/api-keys/{made['id']}")).status == 404


async def test_the_last_key_that_may_write_stays(api: Api) -> None:
    [bootstrap] = (await api.get("/v1/api-keys")).body["items"]
    await make(api, "read")
    refused = await api.delete(f"/v1/api-keys/{bootstrap['id']}")
    assert (refused.status, refused.body["type"]) == (409, "/docs/problems#last-key")
    other = await make(api, "write")
    assert (await api.delete(f"/v1/api-keys/{bootstrap['id']}", key=other["key"])).status == 204
    assert (await api.get("/v1/agents", key=other["key"])).status == 200


async def test_a_key_expires(api: Api) -> None:
    clock = [0.0]
    ring = KeyRing(api.service.database, clock=lambda: clock[0])
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    made = await make(api, "read", expires_at=soon)
    assert await ring.find(made["key"]) is not None
    await api.service.database.write(
        lambda tx: setattr(
            tx.session.scalars(select(ApiKeyRow).where(ApiKeyRow.id == made["id"])).one(),
            "expires_at",
            "2026-01-01T00:00:00.000Z",
        )
    )
    clock[0] += KNOWN_SECONDS
    assert await ring.find(made["key"]) is None
    past = await api.post("/v1/api-keys", {"name": "x", "expires_at": "2020-01-01T00:00:00Z"})
    assert past.body["errors"][0]["field"] == "expires_at"


async def test_one_request_looks_a_key_up_for_all_that_wait(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = api.service.database
    looks = []
    read = database.read

    async def counted(work: Any) -> Any:
        if "KeyRing" in work.__qualname__:  # the service's workers read for themselves
            looks.append(work)
        return await read(work)

    monkeypatch.setattr(database, "read", counted)
    clock = [0.0]
    ring = KeyRing(database, clock=lambda: clock[0])
    for turn in (1, 2):
        found = [asyncio.create_task(ring.find(KEY)) for _ in range(20)]
        await asyncio.sleep(0)
        found[0].cancel()  # the one that looks may lose patience: the others get their answer
        principals = await asyncio.gather(*found[1:])
        assert len({principal.key_id for principal in principals if principal}) == 1
        assert len(looks) == turn
        clock[0] += KNOWN_SECONDS


async def test_keys_are_compared_in_constant_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(api_keys, "same", compare)
    ring = KeyRing(api.service.database)
    assert await ring.find(KEY) is not None
    assert compared == [(access.digest(KEY), access.digest(KEY))], "digests, and by compare_digest only"
    # What the database looks up is a hash, too: how far it agrees tells nothing about a key.
    assert access.same("a" * 64, "a" * 64)
    assert not access.same("a" * 64, "b" * 64)


async def test_when_a_key_was_used_is_noted(api: Api) -> None:
    made = await make(api, "read")
    await api.get("/v1/agents", key=made["key"])
    listed = (await api.get("/v1/api-keys")).body["items"]
    assert listed[1]["last_used_at"] is not None


async def test_the_first_key_is_made_once(tmp_path: Path) -> None:
    async with running_api(tmp_path, bootstrap_key="") as first:
        key = first.service.first_key
        assert key is not None
        assert (await first.get("/v1/agents", key=key)).status == 200
    async with running_api(tmp_path, bootstrap_key="") as second:
        assert second.service.first_key is None
        assert (await second.get("/v1/agents", key=key)).status == 200

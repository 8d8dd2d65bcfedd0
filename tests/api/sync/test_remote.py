"""Two deployments of this API: the second one's cache follows the first one's lists."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from routing.cache import decode_agent, decode_number
from routing.models import Agent, PhoneNumber
from routing.remote_api import RemoteApi
from routing.remote_sync import RemoteSync
from tests.api.conftest import Store
from tests.api.http.rig import Api, running_api
from tests.routing.conftest import RedisServer


@pytest.fixture
async def remote(store: Store, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(tmp_path / "remote", database_url=store.url) as api:
        await api.agent("agt_sales")
        await api.agent("agt_overflow", endpoints=[{"url": "wss://a.example/t", "headers": {"X-Token": "s"}}])
        yield api


@pytest.fixture
async def sync(remote: Api, redis: RedisServer) -> AsyncIterator[RemoteSync]:
    """With a key that may read only."""
    made = await remote.post("/v1/api-keys", {"name": "gateway", "scopes": ["read"]})
    api = RemoteApi(remote.address, made.body["key"])
    yield RemoteSync(api, redis.cache, interval=3600.0, deletion_limit=0.2)
    await api.close()


async def numbers(redis: RedisServer) -> dict[str, PhoneNumber]:
    found = {}
    async for page in redis.cache.scan("number"):
        found |= {key.decode(): decode_number(value) for key, value in page.items()}
    return found


async def agents(redis: RedisServer) -> dict[str, Agent]:
    found = {}
    async for page in redis.cache.scan("agent"):
        found |= {key.decode(): decode_agent(value) for key, value in page.items()}
    return found


async def test_what_the_api_has_arrives_and_follows(
    remote: Api, sync: RemoteSync, redis: RedisServer
) -> None:
    routing = {"agent_id": "agt_sales", "fallback": {"agent_id": "agt_overflow"}, "voicemail_message": "Hi."}
    items = [
        {"phone_number": f"+1415555{index:04}", "provider": "twilio", "inbound_routing": routing}
        for index in range(600)
    ]
    assert (await remote.post("/v1/phone-numbers/import", {"items": items})).body["created"] == 600
    await sync.turn()
    found = await numbers(redis)
    assert len(found) == 600
    first = found["+14155550000"]
    assert first.inbound_routing is not None and first.inbound_routing.fallback is not None
    assert first.inbound_routing.fallback.agent_id == "agt_overflow"
    assert (await agents(redis))["agt_overflow"].endpoints[0].headers == {}
    assert sync.synced.is_set()

    phone_id = (await remote.get("/v1/phone-numbers?phone_number=%2B14155550007")).body["items"][0]["id"]
    await asyncio.sleep(0.01)
    change = {"inbound_routing": {"agent_id": "agt_overflow", "fallback": None}}
    assert (await remote.patch(f"/v1/phone-numbers/{phone_id}", change)).status == 200
    gone = (await remote.get("/v1/phone-numbers?phone_number=%2B14155550008")).body["items"][0]["id"]
    assert (await remote.delete(f"/v1/phone-numbers/{gone}")).status == 204
    await remote.number("+14155559999", agent_id="agt_sales")
    await sync.turn()
    found = await numbers(redis)
    assert found["+14155550007"].inbound_routing is not None
    assert found["+14155550007"].inbound_routing.agent_id == "agt_overflow"
    assert found["+14155550007"].inbound_routing.fallback is None
    assert "+14155550008" not in found and "+14155559999" in found
    assert len(found) == 600


async def test_only_what_changed_crosses_the_wire(remote: Api, sync: RemoteSync, redis: RedisServer) -> None:
    await remote.number("+14155550001")
    await sync.turn()
    served: list[str] = []
    real = sync._api._get

    async def counting(path: str, query: dict[str, str], etag: str = "") -> object:
        answer = await real(path, query, etag)
        served.append(f"{path.rpartition('/')[2]} {answer[0]}")
        return answer

    sync._api._get = counting  # type: ignore[method-assign, assignment]
    await sync.turn()
    assert served == ["phone-numbers 304"]
    await remote.patch("/v1/agents/agt_sales", {"voicemail_message": "Closed."})
    await sync.turn()
    assert served[1:] == ["phone-numbers 200", "agents 200", "cursor 200"], "a change of an agent shows, too"
    assert (await agents(redis))["agt_sales"].voicemail_message == "Closed."

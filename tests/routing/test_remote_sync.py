"""A remote API into a real Redis: what it says arrives, and what it says by mistake does not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from routing import remote_api as remote_api_module
from routing.cache import RoutingCache, decode_agent, decode_number
from routing.models import Agent, PhoneNumber
from routing.remote_api import RemoteApi
from routing.remote_place import parse_remote_place
from routing.remote_sync import MAX_PAUSE, RemoteSync, Result
from routing.sync import Synced
from tests.routing.conftest import RedisServer, a_number, an_agent, fill, until
from tests.routing.remote import KEY, Remote, always, never, remote_api

NUMBERS = [f"+1415555{index:04}" for index in range(600)]
"""More than two pages of either sort."""


class Office:
    """A gateway's side of it: turns by hand, or in the background."""

    def __init__(self, remote: Remote, redis: RedisServer, **options: Any) -> None:
        self.errors: list[str] = []
        self.looks: list[Result] = []
        self.synced: list[Synced] = []
        self.now = 0.0
        options = {"interval": 5.0, "deletion_limit": 0.2, "clock": lambda: self.now} | options
        self.api = RemoteApi(options.pop("url", remote.url), options.pop("key", KEY))
        self.sync = RemoteSync(
            self.api,
            redis.cache,
            on_synced=self.synced.append,
            on_error=self.errors.append,
            on_looked=self.looks.append,
            **options,
        )
        self._work: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._work = asyncio.create_task(self.sync.run())

    async def stop(self) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
            self._work = None
        await self.api.close()


Make = Callable[..., Office]


@pytest.fixture
async def remote() -> AsyncIterator[Remote]:
    async with remote_api() as running:
        yield running


@pytest.fixture
async def make(remote: Remote, redis: RedisServer) -> AsyncIterator[Make]:
    made: list[Office] = []

    def office(**options: Any) -> Office:
        made.append(Office(remote, redis, **options))
        return made[-1]

    yield office
    for each in made:
        await each.stop()


@pytest.fixture
async def office(make: Make) -> Office:
    return make()


async def numbers(cache: RoutingCache) -> dict[str, PhoneNumber]:
    found = {}
    async for page in cache.scan("number"):
        found |= {key.decode(): decode_number(value) for key, value in page.items()}
    return found


async def agents(cache: RoutingCache) -> dict[str, Agent]:
    found = {}
    async for page in cache.scan("agent"):
        found |= {key.decode(): decode_agent(value) for key, value in page.items()}
    return found


def fill_remote(remote: Remote, count: int = len(NUMBERS)) -> None:
    remote.agent("agt_one")
    for number in NUMBERS[:count]:
        remote.put(number)


# What arrives.


@pytest.mark.parametrize("cursor", [True, False])
async def test_all_pages_arrive_and_the_cache_is_complete(
    remote: Remote, office: Office, redis: RedisServer, cursor: bool
) -> None:
    remote.offers_cursor = cursor
    fill_remote(remote)
    remote.agents |= {f"agt_{i}": {"id": f"agt_{i}", "endpoints": []} for i in range(250)}
    await office.sync.turn()
    found = await numbers(redis.cache)
    assert list(found) and set(found) == set(NUMBERS)
    assert found[NUMBERS[0]].inbound_routing is not None
    assert found[NUMBERS[0]].inbound_routing.agent_id == "agt_one"
    assert len(await agents(redis.cache)) == 251
    assert (await redis.cache.state()).epoch is not None
    assert office.sync.synced.is_set()
    assert (office.errors, office.looks) == ([], ["changed"])
    assert office.synced == [Synced(600, 251, 851, 0)]


async def test_nothing_new_is_one_short_request(remote: Remote, office: Office, redis: RedisServer) -> None:
    fill_remote(remote)
    await office.sync.turn()
    remote.requests.clear()
    revision = (await redis.cache.state()).revision
    await office.sync.turn()
    assert remote.requests == ["/v1/phone-numbers?limit=1"]
    assert office.looks == ["changed", "unchanged"]
    assert (await redis.cache.state()).revision == revision


async def test_only_what_changed_is_asked_for(remote: Remote, office: Office, redis: RedisServer) -> None:
    fill_remote(remote)
    await office.sync.turn()
    remote.requests.clear()
    remote.put(NUMBERS[3], friendly_name="Sales", status="inactive")
    remote.put("+14155559999")
    remote.agent("agt_one", "sip:new@192.0.2.11")
    await office.sync.turn()
    assert remote.asked("updated_since=") == 1
    assert remote.asked("cursor") == 1
    found = await numbers(redis.cache)
    assert (found[NUMBERS[3]].friendly_name, found[NUMBERS[3]].status) == ("Sales", "inactive")
    assert "+14155559999" in found
    assert (await agents(redis.cache))["agt_one"].endpoints[0].url == "sip:new@192.0.2.11"
    assert office.synced[-1] == Synced(601, 1, 3, 0)


async def test_a_deletion_shows_by_the_total(remote: Remote, office: Office, redis: RedisServer) -> None:
    fill_remote(remote)
    remote.agent("agt_two")
    await office.sync.turn()
    remote.drop(NUMBERS[7])
    remote.put("+14155559999")
    remote.drop(NUMBERS[8])
    remote.drop("agt_two")
    await office.sync.turn()
    assert set(await numbers(redis.cache)) == {*NUMBERS, "+14155559999"} - set(NUMBERS[7:9])
    assert list(await agents(redis.cache)) == ["agt_one"]


async def test_an_api_that_tells_no_changes_is_read_whole(
    remote: Remote, office: Office, redis: RedisServer
) -> None:
    remote.offers_updated_since = False
    fill_remote(remote, 20)
    await office.sync.turn()
    remote.put(NUMBERS[3], friendly_name="Sales")
    await office.sync.turn()
    assert (await numbers(redis.cache))[NUMBERS[3]].friendly_name == "Sales"
    remote.requests.clear()
    remote.put(NUMBERS[4], friendly_name="Support")
    await office.sync.turn()
    assert remote.asked("updated_since") == 0, "asked again for what it does not offer"
    assert (await numbers(redis.cache))[NUMBERS[4]].friendly_name == "Support"


async def test_an_api_that_ignores_updated_since_is_noticed(
    remote: Remote, office: Office, redis: RedisServer
) -> None:
    fill_remote(remote, 40)
    await office.sync.turn()

    async def ignore(request: web.Request) -> web.StreamResponse | None:
        if "updated_since" in request.query:
            return web.json_response({"items": list(remote.numbers.values()), "has_more": False})
        return None

    remote.fault = ignore
    remote.drop(NUMBERS[5])
    for _ in range(2):
        await office.sync.turn()
    assert NUMBERS[5] not in await numbers(redis.cache)
    assert office.errors == []


async def test_without_etags_and_with_weak_ones_every_look_reads(
    remote: Remote, office: Office, redis: RedisServer
) -> None:
    fill_remote(remote, 5)
    remote.etag = False
    await office.sync.turn()
    remote.put(NUMBERS[0], friendly_name="Sales")
    await office.sync.turn()
    assert (await numbers(redis.cache))[NUMBERS[0]].friendly_name == "Sales"

    async def weak(request: web.Request) -> web.StreamResponse | None:
        assert "If-None-Match" not in request.headers
        if request.path == "/v1/phone-numbers":
            body = {"items": [], "total": len(remote.numbers)}
            return web.json_response(body, headers={"ETag": 'W/"page"'})
        return None

    remote.fault = weak
    remote.put(NUMBERS[1], friendly_name="Support")
    for _ in range(2):
        await office.sync.turn()
    assert (await numbers(redis.cache))[NUMBERS[1]].friendly_name == "Support"


async def test_an_api_without_agents(remote: Remote, office: Office, redis: RedisServer) -> None:
    remote.offers_agents = False
    fill_remote(remote, 5)
    await office.sync.turn()
    assert len(await numbers(redis.cache)) == 5
    assert office.errors == []


async def test_everything_is_compared_now_and_then(
    remote: Remote, office: Office, redis: RedisServer
) -> None:
    fill_remote(remote, 20)
    await office.sync.turn()
    await redis.client.hdel("{vg}:numbers", NUMBERS[2])
    await redis.client.hset("{vg}:numbers", "+14155558888", b"damage")
    await office.sync.turn()
    office.now += 301
    await office.sync.turn()
    assert set(await numbers(redis.cache)) == set(NUMBERS[:20])


async def test_a_change_is_dated_by_the_api(remote: Remote, office: Office, redis: RedisServer) -> None:
    fill_remote(remote, 5)
    await office.sync.turn()
    revision = (await redis.cache.state()).revision
    remote.put(NUMBERS[0], friendly_name="Sales")
    await office.sync.turn()
    [logged] = await redis.cache.changes_since(revision, 1.0)
    assert logged.accepted_at == pytest.approx(1_700_000_006.0)


# What does not.


async def test_numbers_at_a_carrier_take_no_calls_yet(
    remote: Remote, office: Office, redis: RedisServer
) -> None:
    fill_remote(remote, 3)
    for provisioning in ("buying", {"state": "buying"}, {"state": "releasing"}):
        remote.put("+14155559999", status="pending", provisioning=provisioning)
        await office.sync.turn()
        assert set(await numbers(redis.cache)) == set(NUMBERS[:3])
    remote.put("+14155559999", status="active", provisioning=None)
    remote.requests.clear()
    await office.sync.turn()
    assert "+14155559999" in await numbers(redis.cache)
    assert remote.asked("cursor") == 1, "numbers that are not held must not look like deletions"


@pytest.mark.parametrize(
    "fields",
    [
        {"inbound_routing": "agt_one"},
        {"inbound_routing": {"fallback": "agt_two"}},
        {"status": "paused"},
        {"inbound_routing": {"agent_id": "agt_one", "voicemail_message": "long" * 2000}},
        {"agent_id": 7},
    ],
)
async def test_an_unusable_number_keeps_what_there_was(
    remote: Remote, office: Office, redis: RedisServer, fields: dict[str, Any]
) -> None:
    fill_remote(remote, 20)
    await office.sync.turn()
    before = await numbers(redis.cache)
    remote.put(NUMBERS[0], **fields)
    remote.put("not-a-number")
    remote.put(NUMBERS[1], friendly_name="Sales")
    await office.sync.turn()
    after = await numbers(redis.cache)
    assert after[NUMBERS[0]] == before[NUMBERS[0]]
    assert after[NUMBERS[1]].friendly_name == "Sales"
    assert len(after) == 20
    [error] = office.errors
    assert "cannot be used" in error and (NUMBERS[0] in error or "not-a-number" in error)
    office.now += 301
    await office.sync.turn()
    assert len(office.errors) == 1, "said again"
    remote.put(NUMBERS[0], status="active", agent_id=None)
    remote.drop("not-a-number")
    office.now += 301
    await office.sync.turn()
    assert office.errors[1:] == [""]


async def test_an_unusable_agent_keeps_what_there_was(
    remote: Remote, office: Office, redis: RedisServer
) -> None:
    fill_remote(remote, 3)
    await office.sync.turn()
    remote.agent("agt_one", "http://192.0.2.10")
    await office.sync.turn()
    assert (await agents(redis.cache))["agt_one"].endpoints[0].url == "sip:bot@192.0.2.10"
    assert "agt_one" in office.errors[0] and "url" in office.errors[0]


async def test_a_header_that_is_not_given_away_is_left_out_and_told(
    remote: Remote, office: Office, redis: RedisServer
) -> None:
    headers = {"X-Tenant": "acme", "Authorization": "••••"}
    remote.agent("agt_one", endpoints=[{"url": "wss://agents.example/talk", "headers": headers}])
    await office.sync.turn()
    assert (await agents(redis.cache))["agt_one"].endpoints[0].headers == {"X-Tenant": "acme"}
    assert "Authorization" in office.errors[0]


NONSENSE = {
    "not JSON": always(text="<html>Welcome</html>"),
    "a list": always(body=[]),
    "no items": always(body={"total": 3}),
    "items is no list": always(body={"items": {}, "total": 3}),
    "records are no objects": always(body={"items": [None], "total": 1}),
    "records without a number": always(body={"items": [{"name": "Sales"}], "total": 1}),
    "more without a cursor": always(
        body={"items": [{"phone_number": NUMBERS[0]}], "total": 1, "has_more": True}
    ),
    "the same cursor for ever": always(
        body={"items": [{"phone_number": NUMBERS[0]}], "has_more": True, "next_cursor": "x"}
    ),
    "ends before its total": always(body={"items": [], "total": 30}),
    "deep": always(text="[" * 100_000),
    "huge": always(text='{"items": [' + "1," * 3_000_000 + "1]}"),
    "too many records": always(body={"items": [{}] * 1001, "total": 1001}),
    "too long a list": always(body={"items": [], "total": 10**9}),
    "500": always(500),
    "503": always(503, Retry_After="20"),
    "429": always(429, Retry_After="30"),
    "404": always(404),
    "401": always(401),
    "403": always(403),
    "302": always(302, Location="http://192.0.2.1/"),
    "empty": always(body={"items": [], "total": 0}),
}


@pytest.mark.parametrize("what", NONSENSE)
@pytest.mark.parametrize("cursor", [True, False])
async def test_nonsense_changes_nothing(
    remote: Remote, office: Office, redis: RedisServer, what: str, cursor: bool
) -> None:
    remote.offers_cursor = cursor
    fill_remote(remote, 30)
    await office.sync.turn()
    before = await redis.cache.state()
    remote.fault = NONSENSE[what]
    pause = await office.sync.turn()
    assert await redis.cache.count("number") == 30
    assert await redis.cache.count("agent") == 1
    assert (await redis.cache.state()) == before
    assert office.looks[-1] in ("error", "held_back")
    [error] = office.errors
    assert KEY not in error and len(error) < 300
    if what in ("429", "503"):
        assert pause == {"429": 30, "503": 20}[what]
    elif office.looks[-1] == "error":
        pauses = [await office.sync.turn() for _ in range(6)]
        assert pauses[0] > pause and pauses[-1] == MAX_PAUSE
        assert len(office.errors) == 1, "said again"
    remote.fault = None
    remote.put(NUMBERS[0], friendly_name="Sales")
    assert await office.sync.turn() == 5.0
    assert (await numbers(redis.cache))[NUMBERS[0]].friendly_name == "Sales"
    assert office.errors[1:] == [""], "nobody said that it is well again"


async def test_an_api_that_breaks_off_deletes_nothing(
    remote: Remote, office: Office, redis: RedisServer
) -> None:
    fill_remote(remote)
    await office.sync.turn()

    async def break_off(request: web.Request) -> web.StreamResponse | None:
        if "updated_since" in request.query or request.query.get("cursor") == "250":
            return web.Response(status=502)
        return None

    remote.fault = break_off
    remote.drop(NUMBERS[599])
    remote.put(NUMBERS[0], friendly_name="Sales")
    await office.sync.turn()
    await office.sync.turn()
    found = await numbers(redis.cache)
    assert len(found) == 600
    assert found[NUMBERS[0]].friendly_name == "Sales", "what came before the break is true"


async def test_an_api_that_is_slow_or_down(
    remote: Remote, make: Make, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_api_module, "REQUEST_SECONDS", 0.2)
    office = make()
    fill_remote(remote, 3)
    await office.sync.turn()
    remote.fault = never
    await office.sync.turn()
    assert "took longer than" in office.errors[0]
    gone = make(url="http://127.0.0.1:9")
    await gone.sync.turn()
    assert "127.0.0.1:9" in gone.errors[0]
    assert await redis.cache.count("number") == 3


async def test_a_wrong_key_is_named_and_never_shown(remote: Remote, make: Make) -> None:
    office = make(key="oi_sk_wrong")
    await office.sync.turn()
    assert "api.remote_key" in office.errors[0]
    assert "oi_sk_wrong" not in office.errors[0] + repr(office.api)


async def test_redirections_are_not_followed(remote: Remote, office: Office) -> None:
    remote.fault = always(307, Location=f"{remote.url}/v1/elsewhere")
    await office.sync.turn()
    assert remote.asked("elsewhere") == 0
    assert "redirection" in office.errors[0]


async def test_a_list_that_moves_under_the_reader_loses_nothing(
    remote: Remote, office: Office, redis: RedisServer
) -> None:
    """Between two pages by offset the first record goes: the one at the seam must not be passed over."""
    remote.offers_cursor = False
    remote.etag = False
    fill_remote(remote, 300)
    await office.sync.turn()
    dropped = iter(NUMBERS[:1])

    async def move(request: web.Request) -> web.StreamResponse | None:
        if int(request.query.get("offset", 0)) > 0 and (number := next(dropped, None)):
            remote.drop(number)
            remote.put("+14155559999")
        return None

    remote.fault = move
    await office.sync.turn()
    assert set(await numbers(redis.cache)) == {*NUMBERS[1:300], "+14155559999"}
    assert office.synced[-1].removed == 1
    assert office.errors == []


async def test_a_list_that_never_stands_still_is_told(
    remote: Remote, office: Office, redis: RedisServer
) -> None:
    remote.offers_cursor = False
    fill_remote(remote, 300)

    async def move(request: web.Request) -> web.StreamResponse | None:
        if int(request.query.get("offset", 0)) > 0:
            remote.drop(next(iter(remote.numbers)))
        return None

    remote.fault = move
    await office.sync.turn()
    assert "changes faster" in office.errors[0]
    assert (await redis.cache.state()).epoch is None


# Deletions that are too many.


async def test_mass_deletion_is_held_back_and_additions_go_on(
    remote: Remote, office: Office, redis: RedisServer
) -> None:
    fill_remote(remote, 100)
    await office.sync.turn()
    for number in NUMBERS[:50]:
        remote.drop(number)
    remote.put("+14155559999")
    await office.sync.turn()
    assert await redis.cache.count("number") == 101
    assert office.looks[-1] == "held_back"
    assert "50 of the 101 numbers" in office.errors[0] and "api.remote_deletion_limit" in office.errors[0]
    remote.put("+14155559998")
    await office.sync.turn()
    assert await redis.cache.count("number") == 102
    for number in NUMBERS[:50]:
        remote.put(number)
    await office.sync.turn()
    assert office.looks[-1] == "changed"
    assert office.errors[-1] == ""


async def test_the_override_believes_anything(remote: Remote, make: Make, redis: RedisServer) -> None:
    fill_remote(remote, 100)
    first = make()
    await first.sync.turn()
    await first.sync._tenure.end()
    for number in NUMBERS[:100]:
        remote.drop(number)
    remote.drop("agt_one")
    await make(deletion_limit=1.0).sync.turn()
    assert (await redis.cache.count("number"), await redis.cache.count("agent")) == (0, 0)


async def test_the_last_ones_are_held_back_however_few(
    remote: Remote, office: Office, redis: RedisServer
) -> None:
    fill_remote(remote, 3)
    await office.sync.turn()
    for number in NUMBERS[:2]:
        remote.drop(number)
    await office.sync.turn()
    assert await redis.cache.count("number") == 1, "two of three are believed"
    remote.drop(NUMBERS[2])
    await office.sync.turn()
    assert await redis.cache.count("number") == 1
    assert office.looks[-1] == "held_back"


async def test_agents_that_vanish_all_at_once_are_held_back(
    remote: Remote, office: Office, redis: RedisServer
) -> None:
    fill_remote(remote, 3)
    await office.sync.turn()
    remote.offers_agents = False
    remote.put(NUMBERS[0], friendly_name="Sales")
    await office.sync.turn()
    assert list(await agents(redis.cache)) == ["agt_one"]
    assert office.looks[-1] == "held_back"


async def test_a_mistake_while_redis_is_empty_is_held_back_too(
    remote: Remote, make: Make, redis: RedisServer
) -> None:
    """The cache has nothing to lose then, but the node still routes by what it had."""
    office = make(serving=lambda: 500)
    fill_remote(remote, 5)
    await office.sync.turn()
    assert (await redis.cache.state()).epoch is None, "no replica may load this"
    assert office.looks == ["held_back"]
    for number in NUMBERS[:450]:
        remote.put(number)
    await office.sync.turn()
    assert (await redis.cache.state()).epoch is not None


# Whose cache it is.


async def test_a_flushed_redis_is_filled_again(remote: Remote, make: Make, redis: RedisServer) -> None:
    office = make(interval=3600.0, clock=asyncio.get_running_loop().time)
    fill_remote(remote, 20)
    office.start()
    await asyncio.wait_for(office.sync.synced.wait(), 20)
    await redis.client.flushall()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while (await redis.cache.state()).epoch is None:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
    assert (await redis.cache.state()).epoch is not None
    assert await redis.cache.count("number") == 20


async def test_an_older_copy_of_redis_is_brought_up_to_date(
    remote: Remote, office: Office, redis: RedisServer
) -> None:
    fill_remote(remote, 5)
    await office.sync.turn()
    older = {key: await redis.client.dump(key) for key in await redis.client.keys("*")}
    remote.put(NUMBERS[0], friendly_name="Sales")
    await office.sync.turn()
    for key, value in older.items():
        await redis.client.restore(key, 0, value, replace=True)
    await office.sync.turn()
    assert (await numbers(redis.cache))[NUMBERS[0]].friendly_name == "Sales"


async def test_of_two_gateways_one_looks(remote: Remote, make: Make, redis: RedisServer) -> None:
    fill_remote(remote, 5)
    first, second = make(), make()
    await first.sync.turn()
    remote.requests.clear()
    for _ in range(3):
        await second.sync.turn()
        await first.sync.turn()
    assert second.looks == []
    assert second.sync.synced.is_set(), "the routes are there, whoever wrote them"
    assert remote.asked("agents") == 0
    second.now += 10
    await second.sync.turn()
    assert second.looks == []
    second.now += 30  # the first has not moved since
    await second.sync.turn()
    assert second.looks == ["unchanged"]
    await first.sync.turn()
    assert first.sync._tenure.taken or not first.sync._tenure.ours
    remote.put(NUMBERS[0], friendly_name="Sales")
    await first.sync.turn()
    assert (await numbers(redis.cache))[NUMBERS[0]].friendly_name is None
    await second.sync.turn()
    assert (await numbers(redis.cache))[NUMBERS[0]].friendly_name == "Sales"


async def test_a_gateway_that_stops_hands_over_at_once(
    remote: Remote, make: Make, redis: RedisServer
) -> None:
    fill_remote(remote, 5)
    first, second = make(), make()
    first.start()
    await asyncio.wait_for(first.sync.synced.wait(), 20)
    await first.stop()
    place = parse_remote_place(await redis.cache.place())
    assert place is not None and place.writer == ""
    await second.sync.turn()
    assert second.looks == ["unchanged"]


async def test_a_cache_that_others_filled_is_not_taken_over(
    remote: Remote, make: Make, redis: RedisServer
) -> None:
    office = make()
    await fill(redis.cache, an_agent(), *(a_number(last) for last in range(30)))
    await redis.cache.claim("store/abc/30/mark")
    fill_remote(remote, 5)
    await office.sync.turn()
    assert await redis.cache.count("number") == 30
    assert await redis.cache.place() == "store/abc/30/mark"
    assert "30 of the 30 numbers" in office.errors[0] and "api.remote_url" in office.errors[0]
    await make(deletion_limit=1.0).sync.turn()
    assert set(await numbers(redis.cache)) == set(NUMBERS[:5])


async def test_a_cache_with_the_same_routes_is_taken_over_and_then_defended(
    remote: Remote, make: Make, redis: RedisServer
) -> None:
    office = make()
    await fill(redis.cache, an_agent(), *(a_number(last) for last in range(30)))
    for last in range(30):
        remote.put(f"+141555501{last:02}")
    remote.agent("agt_one")
    await office.sync.turn()
    assert office.errors == []
    await redis.cache.claim("store/abc/30/mark")
    remote.put(NUMBERS[0])
    await office.sync.turn()
    assert "another writer (store/abc/30/mark)" in office.errors[0]
    assert NUMBERS[0] not in await numbers(redis.cache)


async def test_redis_away_is_survived(remote: Remote, make: Make, redis: RedisServer) -> None:
    office = make(interval=0.05, clock=asyncio.get_running_loop().time)
    fill_remote(remote, 5)
    office.start()
    await asyncio.wait_for(office.sync.synced.wait(), 20)
    await redis.stop()
    await until(lambda: any("redis.url" in error for error in office.errors))
    remote.put(NUMBERS[0], friendly_name="Sales")
    await redis.start()
    await until(lambda: office.errors[-1] == "")
    assert (await numbers(redis.cache))[NUMBERS[0]].friendly_name == "Sales"


async def test_what_is_asked_for_is_looked_at_soon(remote: Remote, make: Make, redis: RedisServer) -> None:
    office = make(interval=3600.0, clock=asyncio.get_running_loop().time)
    fill_remote(remote, 5)
    office.start()
    await asyncio.wait_for(office.sync.synced.wait(), 20)
    await until(lambda: len(office.looks) == 1)
    remote.put(NUMBERS[0], friendly_name="Sales")
    office.sync.look_soon()
    await until(lambda: len(office.looks) == 2)
    assert (await numbers(redis.cache))[NUMBERS[0]].friendly_name == "Sales"

"""Every sort of Redis that users run: the same cache, events, nodes and places on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from routing.cache import META, RoutingCache
from routing.call_events import CallStarted
from routing.event_stream import EventReader, EventWriter
from routing.kept_calls import Kept, KeptCalls
from routing.leases import Leases
from routing.ledger import Ledger, endpoint_tag
from routing.nodes import NodeRegistry, NodeWords
from routing.redis_clients import BACKGROUND_TIMEOUT, FOLLOW_TIMEOUT, HOT_TIMEOUT, connect
from routing.redis_place import RedisPlace, TlsFiles, parse_place
from routing.redis_trouble import trouble_of
from routing.replica import Replica
from routing.share import Claim
from tests.certificates import Authority
from tests.redis_servers import ClusterSet, RedisProcess, SentinelSet, free_port
from tests.routing.conftest import PATIENCE, Counts, a_number, an_agent, fill, put, until

PASSWORD = "hunter@2/#:1"
QUOTED = "hunter%402%2F%23%3A1"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("redis-kinds")


@pytest.fixture(scope="module")
def sentinels(directory: Path) -> Iterator[SentinelSet]:
    servers = SentinelSet(directory / "sentinel")
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@pytest.fixture(scope="module")
def cluster(directory: Path) -> Iterator[ClusterSet]:
    servers = ClusterSet(directory / "cluster")
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@pytest.fixture(scope="module")
def secured(directory: Path) -> Iterator[RedisPlace]:
    """TLS with certificates on both sides, and a user who may do what we do, and nothing else."""
    authority = Authority(directory)
    server, client = authority.issue("127.0.0.1"), authority.issue("gateway.example")
    users, port = directory / "users.acl", free_port()
    users.write_text(f"user default off\nuser gw on >{PASSWORD} ~{{vg* +@all -@admin -@dangerous\n")
    process = RedisProcess(
        directory / "secured",
        *("--tls-cert-file", str(server), "--tls-key-file", str(server)),
        *("--tls-ca-cert-file", str(authority.file), "--tls-auth-clients", "yes", "--port", "0"),
        *("--aclfile", str(users), "--tls-port", str(port)),
        port=port,
    )
    process.start()
    yield parse_place(f"rediss://gw:{QUOTED}@127.0.0.1:{port}/0", TlsFiles(authority.file, client, client))
    process.stop()


@pytest.fixture(params=["sentinel", "cluster", "secured"])
async def place(request: pytest.FixtureRequest) -> RedisPlace:
    if request.param == "secured":
        found: RedisPlace = request.getfixturevalue("secured")
        return found
    servers = request.getfixturevalue({"sentinel": "sentinels", "cluster": "cluster"}[request.param])
    return parse_place(servers.url)


@pytest.fixture
async def client(place: RedisPlace) -> AsyncIterator[Redis]:
    client = connect(place, FOLLOW_TIMEOUT)
    any_client: Any = client
    async for key in any_client.scan_iter("{vg*"):  # of the tests before
        await any_client.delete(key)
    yield client
    await client.aclose()


async def test_routes_are_written_loaded_and_followed(place: RedisPlace, client: Redis) -> None:
    cache, number, agent = RoutingCache(client), a_number(), an_agent()
    await fill(cache, number, agent)
    replica = Replica(place, Counts())
    await replica.start()
    assert replica.loaded
    assert replica.get(number.phone_number) == number
    new = a_number(1)
    await cache.write(put(new))
    await until(lambda: replica.get(new.phone_number))
    await cache.claim("here")
    await cache.advance(put(a_number(2)), "here", "there")
    assert await cache.place() == "there"
    assert len(await cache.held("number", [new.phone_number, "+1"])) == 2
    assert await replica.lookup("+14155550199") is None
    await replica.stop()


async def test_events_nodes_and_places(client: Redis) -> None:
    fields = {"agent_id": None, "to_number": "+1", "from_number": "", "carrier": "t"}
    event = CallStarted(id="evt_1", call_id="c1", created_at="2026-11-28T00:00:00.000Z", **fields)
    writer, reader = EventWriter(client), EventReader(client, "one")
    await writer.write([event, event])
    read = await reader.read()
    assert [each for _, each in read] == [event, event]
    await reader.done([entry for entry, _ in read], ["vm_1", "vm_2"])
    assert await writer.kept(["vm_1", "vm_2", "vm_3"]) == {"vm_1", "vm_2"}

    registry = NodeRegistry(client)
    await registry.beat("one", NodeWords(incarnation="a", version="1", started_at=0.0))
    assert await registry.living() == {("one", "a")}
    await registry.leave("one")

    ledger = Ledger(client, "one")
    for number in range(6):  # on all the servers of a cluster
        tag = endpoint_tag("agt", f"sip:{number}@h")
        assert await ledger.claim(tag, Claim(1, 0, 2, 1, 0.0)) == (1, 1)


async def test_calls_are_kept_and_claimed(client: Redis) -> None:
    dead, heir = KeptCalls(client, "dead:5060#1", 0.001), KeptCalls(client, "heir:5060#2", 300.0)
    calls = [Kept(f"call-{number}", b"record", (f"a-{number}@h", f"b-{number}")) for number in range(20)]
    await dead.beat()
    await heir.beat()
    await dead.write(calls, [])
    await dead.write([], calls[10:])
    async with asyncio.timeout(PATIENCE):
        while not await _late(heir):  # noqa: ASYNC110 - only Redis knows when
            await asyncio.sleep(0.01)
    assert await heir.find("b-3", [dead.owner]) == (dead.owner, "call-3")
    claimed = await heir.claim(dead.owner, 100)
    assert claimed is not None and len(claimed) == 10
    assert await heir.settle(dead.owner, [call_id for call_id, _ in claimed])
    assert (await dead.away()).others == {f"call-{number}" for number in range(10)}
    await heir.bury(dead.owner)
    await heir.leave()


async def _late(heir: KeptCalls) -> bool:
    return await heir.late() == ["dead:5060#1"]


async def test_a_task_that_waits_there_ends_when_it_is_cancelled(place: RedisPlace) -> None:
    for turns in (0, 1, 3, 10, 30, 100):
        client = connect(place, BACKGROUND_TIMEOUT)
        task = asyncio.create_task(RoutingCache(client).changes_since(10**9, 5.0))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=4.0)
        assert done
        await client.aclose()


async def test_no_repr_and_no_error_shows_a_password(secured: RedisPlace) -> None:
    wrong = parse_place(secured.url.replace(QUOTED, "wr0ng-" + QUOTED), secured.files)
    client = connect(wrong, BACKGROUND_TIMEOUT)
    any_client: Any = client
    with pytest.raises(RedisError) as refused:
        await any_client.get("{vg}:x")
    shown = [repr(secured), secured.shown, str(refused.value), repr(client), repr(client.connection_pool)]
    await client.aclose()
    for url in (f"redis+sentinel://u:{QUOTED}@h:1/m", f"redis+cluster://u:{QUOTED}@127.0.0.1:1"):
        other = connect(url, 0.2)
        another: Any = other
        with pytest.raises((RedisError, OSError)) as unreachable:
            await another.get("{vg}:x")
        shown += [repr(other), repr(parse_place(url)), parse_place(url).shown, str(unreachable.value)]
        await other.aclose()
    for text in shown:
        assert "hunter" not in text, text


async def test_who_is_not_vouched_for_is_not_talked_to(secured: RedisPlace) -> None:
    for files in (TlsFiles(), TlsFiles(secured.files.ca_file)):
        client: Any = connect(parse_place(secured.url, files), BACKGROUND_TIMEOUT)
        with pytest.raises((RedisError, OSError)):
            await client.get("{vg}:x")
        await client.aclose()


# What ends servers comes last: those above share them.


async def test_a_fail_over_under_calls_loses_no_call_and_no_change(sentinels: SentinelSet) -> None:
    place = parse_place(sentinels.url)
    client = connect(place, BACKGROUND_TIMEOUT)
    cache, number = RoutingCache(client), a_number()
    await cast_any(client).flushall()
    await fill(cache, number, an_agent())
    counts, told = Counts(), list[str]()
    replica = Replica(place, counts, on_error=told.append)
    await replica.start()
    hot, background = connect(place, HOT_TIMEOUT), connect(place, BACKGROUND_TIMEOUT)
    leases = Leases(Ledger(hot, "one"), Ledger(background, "one"), lambda: 1, asyncio.get_running_loop().time)
    keeping = asyncio.create_task(leases.run())
    first = await leases.take(("agt", "sip:a@h"), 10)
    calls, missed = 0, 0

    async def call() -> None:
        nonlocal calls, missed
        while True:
            calls += 1
            missed += replica.get(number.phone_number) is None
            place = await leases.take(("agt", "sip:a@h"), 10)
            await asyncio.sleep(0.01)
            if place is not None:
                place.release()
            else:
                missed += 1

    calling = asyncio.create_task(call())
    old = sentinels.primary()
    other = next(each for each in sentinels.servers if each is not old)
    await asyncio.to_thread(old.say, "WAIT", "1", "20000")  # a replica has all that was written so far
    with other.frozen():
        old.say("CLIENT", "KILL", "TYPE", "replica")  # what is written now, the next primary will never know
        await cache.write(put(a_number(1)))
        await until(lambda: replica.get(a_number(1).phone_number))
        old.kill()
    await until(lambda: sentinels.primary() is other)

    async def written() -> bool:
        try:
            await cache.write(put(a_number(2)))
        except (RedisError, OSError):
            return False
        return True

    async with asyncio.timeout(PATIENCE):
        while not await written():  # noqa: ASYNC110 - the publisher tries again in the same way
            await asyncio.sleep(0.05)
    await until(lambda: replica.get(a_number(2).phone_number))
    assert replica.get(a_number(1).phone_number) is None, (
        "all agree with the new primary; the API says it again"
    )
    await until(lambda: not leases.away)
    await asyncio.sleep(0.1)
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    assert calls > 50
    assert missed == 0
    assert first is not None
    first.release()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await leases.stop()
    await replica.stop()
    for each in (client, hot, background):
        await each.aclose()


async def test_a_cluster_without_the_routes_slot_is_incomplete_and_calls_go_on(cluster: ClusterSet) -> None:
    place = parse_place(cluster.url)
    client = connect(place, 1.0)
    await fill(RoutingCache(client), number := a_number())
    replica = Replica(place, Counts())
    await replica.start()
    with_routes = cast_any(client).get_node_from_key(META)
    victim = next(each for each in cluster.servers if each.port == with_routes.port)
    victim.kill()
    with pytest.raises((RedisError, OSError)) as told:
        await RoutingCache(client).state()
    assert trouble_of(told.value).kind in {"away", "incomplete", "silent"}
    assert replica.get(number.phone_number) == number
    assert await replica.lookup("+14155550197") is None
    await replica.stop()
    await client.aclose()


def cast_any(client: Redis) -> Any:
    """Commands that redis-py gives types which fit neither of its clients."""
    return client

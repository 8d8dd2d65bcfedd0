"""The replica against a real Redis that is killed, flushed, replaced and stopped under it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from routing import cache as cache_module
from routing import snapshot
from routing.cache import Change
from routing.models import Agent, Fallback, InboundRouting, PhoneNumber
from routing.redis_clients import HOT_TIMEOUT
from routing.replica import Replica
from routing.view import RouteView
from tests.routing.conftest import PATIENCE, Counts, RedisServer, a_number, an_agent, fill, gone, put, until

MakeReplica = Callable[..., Replica]


async def test_it_loads_what_is_there_and_answers_at_once(redis: RedisServer, replicas: MakeReplica) -> None:
    number, agent = a_number(), an_agent()
    await fill(redis.cache, number, agent)
    counts = Counts()
    replica = replicas(observer=counts)
    assert not replica.loaded
    assert replica.age == float("inf")

    await replica.start()

    assert replica.loaded
    assert replica.get(number.phone_number) == number
    assert replica.agents.get(agent.id) == agent
    assert replica.get("+14155550177") is None
    assert replica.agents.get("agt_nobody") is None
    assert counts.numbers == 1
    assert counts.lookups == [("replica", "hit")]


async def test_it_follows_changes(redis: RedisServer, replicas: MakeReplica) -> None:
    number, agent = a_number(), an_agent()
    await fill(redis.cache, number, agent)
    told: list[PhoneNumber | Agent] = []
    counts = Counts()
    replica = replicas(observer=counts, on_loaded=lambda numbers, agents: told.extend([*numbers, *agents]))
    await replica.start()
    assert {one.id for one in told} == {number.id, agent.id}
    told.clear()

    changed, new = a_number(message="We moved."), a_number(1)
    moved = an_agent(url="sip:bot@192.0.2.11")
    await redis.cache.write(put(changed, new, moved))
    await until(lambda: replica.get(new.phone_number))
    assert replica.get(number.phone_number) == changed
    assert replica.agents.get(agent.id) == moved
    assert {one.id for one in told} == {changed.id, new.id, moved.id}
    assert len(counts.propagations) == 3

    await redis.cache.write([gone(new), gone(agent)])
    await until(lambda: replica.get(new.phone_number) is None)
    assert replica.agents.get(agent.id) is None
    assert counts.numbers == 1
    assert counts.errors == 0


async def test_a_number_that_is_newer_than_the_replica_is_found_with_its_agents(
    redis: RedisServer, replicas: MakeReplica
) -> None:
    await fill(redis.cache, a_number())
    counts = Counts()
    replica = replicas(observer=counts)  # not started: it has heard of nothing
    routing = InboundRouting(fallback=Fallback("agt_two"))
    number = PhoneNumber(id="phn_x", phone_number="+14155550155", agent_id="agt_one", inbound_routing=routing)
    await redis.cache.write(put(number, an_agent("agt_one"), an_agent("agt_two")))

    assert await replica.lookup(number.phone_number) == number
    assert replica.agents.get("agt_one") == an_agent("agt_one")
    assert replica.agents.get("agt_two") == an_agent("agt_two")
    assert counts.lookups == [("redis", "hit")]


async def test_an_unknown_number_is_asked_for_once_and_known_as_soon_as_it_is_written(
    redis: RedisServer, replicas: MakeReplica
) -> None:
    await fill(redis.cache, a_number())
    counts = Counts()
    now = 1000.0
    replica = replicas(observer=counts, clock=lambda: now)
    await replica.start()
    unknown = a_number(42)

    assert await asyncio.gather(*(replica.lookup(unknown.phone_number) for _ in range(20))) == [None] * 20
    served = (await redis.client.info("commandstats"))["cmdstat_hget"]["calls"]
    assert await replica.lookup(unknown.phone_number) is None
    assert counts.lookups[-1] == ("replica", "miss")
    stats = await redis.client.info("commandstats")
    assert stats["cmdstat_hget"]["calls"] == served

    now += 60.0
    await replica.lookup(unknown.phone_number)
    assert counts.lookups[-1] == ("redis", "miss")

    await redis.cache.write(put(unknown))
    await until(lambda: replica.get(unknown.phone_number))
    assert await replica.lookup(unknown.phone_number) == unknown


async def test_redis_away_serves_on_ages_and_catches_up(redis: RedisServer, replicas: MakeReplica) -> None:
    number = a_number()
    await fill(redis.cache, number, an_agent())
    counts, complaints = Counts(), list[str]()
    replica = replicas(observer=counts, on_error=complaints.append)
    await replica.start()

    await redis.stop()
    await until(lambda: counts.errors >= 2)
    before = replica.age
    await asyncio.sleep(0)
    assert replica.age > before > 0
    assert replica.get(number.phone_number) == number
    assert await replica.lookup("+14155550177") is None
    assert counts.lookups[-1] == ("redis", "error")
    assert len(complaints) < counts.errors + 1

    await redis.start()
    changed = a_number(message="While you were away.")
    await redis.cache.write(put(changed))
    await until(lambda: replica.get(number.phone_number) == changed)
    await until(lambda: replica.age < before)


async def test_a_flushed_redis_never_empties_the_view(redis: RedisServer, replicas: MakeReplica) -> None:
    number = a_number()
    await fill(redis.cache, number, an_agent())
    counts, complaints = Counts(), list[str]()
    replica = replicas(observer=counts, on_error=complaints.append)
    await replica.start()
    views: set[int] = set()

    await redis.client.flushall()
    await until(lambda: views.add(len(replica.view)) or counts.errors)
    assert "empty" in complaints[-1]

    await redis.cache.write(put(a_number(1)))  # half of the repair: not complete, not taken over
    seen = counts.errors
    await until(lambda: views.add(len(replica.view)) or counts.errors > seen)
    assert replica.get(number.phone_number) == number
    assert replica.get("+14155550101") is None

    await fill(redis.cache, a_number(2))
    await until(lambda: views.add(len(replica.view)) or replica.get("+14155550102"))
    assert replica.get(number.phone_number) is None
    assert views == {1, 2}


async def test_another_data_set_is_taken_over_whole(redis: RedisServer, replicas: MakeReplica) -> None:
    await fill(redis.cache, *(a_number(n) for n in range(5)))
    replica = replicas()
    await replica.start()

    async with redis.client.pipeline(transaction=True) as together:
        together.flushall()
        together.hset("{vg}:meta", mapping={"epoch": "another", "revision": 9})
        [change] = put(a_number(50))
        together.hset("{vg}:numbers", change.key, change.value or b"")
        await together.execute()

    await until(lambda: replica.get("+14155550150"))
    assert len(replica.view) == 1


async def test_an_older_copy_of_the_data_is_noticed(redis: RedisServer, replicas: MakeReplica) -> None:
    """Redis died before it saved, and came back with what it had a minute ago."""
    await fill(redis.cache, a_number(1))
    await redis.client.save()
    await redis.cache.write(put(a_number(2)))
    replica = replicas()
    await replica.start()
    assert replica.get("+14155550102")

    os.kill(redis.pid, signal.SIGKILL)
    await until(lambda: replica.get("+14155550102") is None)
    assert replica.get("+14155550101")


async def test_as_many_other_changes_are_not_taken_for_ours(
    redis: RedisServer, replicas: MakeReplica
) -> None:
    """Redis came back with an older copy, and was written to before anybody looked."""
    await fill(redis.cache, a_number(1))
    old = {key: await redis.client.dump(key) for key in await redis.client.keys()}
    await redis.cache.write(put(a_number(2)))
    replica = replicas()
    await replica.start()
    revision = replica.view.revision

    async with redis.client.pipeline(transaction=True) as together:
        together.flushall()
        for key, value in old.items():
            together.restore(key, 0, value)
        fields = {"kind": "number", "key": "+14155550103", "value": put(a_number(3))[0].value or b""}
        together.xadd("{vg}:log", {**fields, "at": "0", "mark": "other"}, id=f"{revision}-0")
        together.hset("{vg}:numbers", "+14155550103", fields["value"])
        together.hset("{vg}:meta", "revision", revision)
        await together.execute()

    await until(lambda: replica.get("+14155550103"))
    assert replica.get("+14155550101")
    assert replica.get("+14155550102") is None
    assert replica.view.revision == revision


async def test_records_that_cannot_be_read_are_unknown_and_reported_without_their_keys(
    redis: RedisServer, replicas: MakeReplica
) -> None:
    newer = [Change("number", "+14155550108", b"\xc1"), Change("agent", "agt_newer", b"\xc1")]
    await redis.cache.write(newer)
    await fill(redis.cache, a_number(), an_agent())
    told, complaints, counts = list[str](), list[str](), Counts()
    replica = replicas(
        observer=counts,
        on_loaded=lambda numbers, agents: told.extend(one.id for one in [*numbers, *agents]),
        on_error=complaints.append,
    )
    await replica.start()
    assert set(told) == {a_number().id, an_agent().id}
    assert complaints == ["2 records of the routes cannot be read: did a newer version write them?"]
    assert counts.errors == 1
    assert replica.agents.get("agt_newer") is None
    assert await replica.lookup("+14155550108") is None
    assert counts.lookups[-1] == ("redis", "error")

    passing = a_number(9)  # comes and goes in one write: not unreadable
    unreadable = Change("number", "+14155550100", b"\xc1")
    await redis.cache.write([unreadable, *put(passing), gone(passing), *put(a_number(1))])
    await until(lambda: replica.get("+14155550101"))
    assert replica.get("+14155550100") is None
    assert complaints[-1].startswith("1 records")


async def test_a_log_trimmed_past_our_place_means_loading_everything(
    redis: RedisServer, replicas: MakeReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "LOG_LENGTH", 1)
    await fill(redis.cache, a_number(0), a_number(1))
    counts = Counts()
    replica = replicas(observer=counts)
    await replica.start()
    await redis.stop()
    await until(lambda: counts.errors)
    await redis.start()
    # In one transaction, so that the follower cannot read along.
    changes = [*put(a_number(2)), gone(a_number(1))]
    async with redis.client.pipeline(transaction=True) as together:
        for revision, change in enumerate(changes, 3):
            if change.value is None:
                together.hdel("{vg}:numbers", change.key)
            else:
                together.hset("{vg}:numbers", change.key, change.value)
            fields = {"kind": "number", "key": change.key, "value": change.value or b"", "at": "0"}
            together.xadd("{vg}:log", fields, id=f"{revision}-0")
        together.hset("{vg}:meta", "revision", 4)
        together.xtrim("{vg}:log", maxlen=1, approximate=False)
        await together.execute()

    await until(lambda: replica.get("+14155550102"))
    assert replica.get("+14155550100")
    assert replica.get("+14155550101") is None
    assert counts.propagations == []  # loaded, not followed


async def test_every_state_in_between_is_one_that_was_written(
    redis: RedisServer, replicas: MakeReplica
) -> None:
    await fill(redis.cache, a_number(message="0"))
    replica = replicas()
    await replica.start()
    seen = list[int]()
    for n in range(1, 200):
        await redis.cache.write(put(a_number(message=str(n))))
        number = replica.get("+14155550100")
        assert number is not None
        assert number.inbound_routing is not None
        seen.append(int(number.inbound_routing.voicemail_message or "0"))
    assert all(later >= earlier for earlier, later in pairwise(seen))
    await until(lambda: replica.get("+14155550100") == a_number(message="199"))


async def test_a_silent_redis_costs_a_call_no_more_than_the_limit(
    redis: RedisServer, replicas: MakeReplica
) -> None:
    await fill(redis.cache, a_number())
    counts = Counts()
    replica = replicas(observer=counts)
    await replica.start()
    await replica.lookup("+14155550176")  # its connection is open
    loop = asyncio.get_running_loop()
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        began = loop.time()
        assert await asyncio.gather(*(replica.lookup(f"+141555501{n}") for n in range(10, 60))) == [None] * 50
        spent = loop.time() - began
        assert replica.get("+14155550100") == a_number()
    finally:
        os.kill(redis.pid, signal.SIGCONT)
    assert counts.lookups[1:-1] == [("redis", "error")] * 50
    assert HOT_TIMEOUT * 0.9 <= spent < HOT_TIMEOUT * 10  # one limit for all, on a machine that is busy


async def test_a_silent_redis_does_not_stop_it_from_starting(
    redis: RedisServer, replicas: MakeReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routing.replica.BACKGROUND_TIMEOUT", 0.2)
    number = a_number()
    await fill(redis.cache, number, an_agent())
    first = replicas()
    await first.start()
    await first.stop()

    os.kill(redis.pid, signal.SIGSTOP)
    try:
        replica = replicas()
        await replica.start()
        assert replica.get(number.phone_number) == number
    finally:
        os.kill(redis.pid, signal.SIGCONT)
    await until(lambda: replica.age < float("inf"))


async def test_with_redis_away_the_last_snapshot_serves(redis: RedisServer, replicas: MakeReplica) -> None:
    number, agent = a_number(), an_agent()
    await fill(redis.cache, number, agent)
    first = replicas()
    await first.start()
    await first.stop()
    await redis.stop()

    counts, complaints, told = Counts(), list[str](), list[str]()
    replica = replicas(
        observer=counts,
        on_error=complaints.append,
        on_loaded=lambda numbers, agents: told.extend(one.id for one in [*numbers, *agents]),
    )
    await replica.start()
    assert replica.loaded
    assert replica.age == float("inf")
    assert replica.get(number.phone_number) == number
    assert replica.agents.get(agent.id) == agent
    assert counts.lookups == [("snapshot", "hit")]
    assert set(told) == {number.id, agent.id}
    assert complaints

    await redis.start()
    await redis.cache.write(put(a_number(3)))
    await until(lambda: replica.get("+14155550103"))
    replica.get(number.phone_number)
    assert counts.lookups[-1] == ("replica", "hit")


async def test_nothing_anywhere_is_not_loaded(
    redis: RedisServer, replicas: MakeReplica, tmp_path: Path
) -> None:
    (tmp_path / "routes.snapshot").write_bytes(snapshot.MAGIC + b" but not really")
    complaints = list[str]()
    replica = replicas(on_error=complaints.append)
    await replica.start()
    assert not replica.loaded
    assert any("routes.snapshot is damaged" in complaint for complaint in complaints)

    await fill(redis.cache, a_number())
    await until(lambda: replica.loaded)


async def test_stopping_twice_leaves_nothing_behind(redis: RedisServer, replicas: MakeReplica) -> None:
    await fill(redis.cache, a_number())
    replica = replicas()
    before = asyncio.all_tasks()
    await replica.start()
    await replica.stop()
    await replica.stop()
    assert asyncio.all_tasks() == before


async def test_it_stops_whatever_it_is_doing(redis: RedisServer, replicas: MakeReplica) -> None:
    """redis-py swallows a cancellation that meets its write; so there is always something to do here."""
    await fill(redis.cache, a_number())

    async def write() -> None:
        for n in range(1_000_000):
            await redis.cache.write(put(a_number(message=str(n))))

    writing = asyncio.create_task(write())
    for step in range(20):
        replica = replicas()
        await replica.start()
        await asyncio.sleep(step * 0.0003)
        async with asyncio.timeout(PATIENCE):
            await replica.stop()
    writing.cancel()
    await asyncio.wait([writing], timeout=PATIENCE)
    assert writing.cancelled()


async def test_a_snapshot_under_way_is_finished_before_the_last_one_is_written(
    redis: RedisServer, replicas: MakeReplica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routing.replica.SNAPSHOT_INTERVAL", 0.0)
    await fill(redis.cache, a_number())
    saving, go_on, at_once, most = threading.Event(), threading.Event(), 0, 0
    save = snapshot.save

    def slow_save(path: Path, view: RouteView) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        saving.set()
        go_on.wait(PATIENCE)
        save(path, view)
        at_once -= 1

    monkeypatch.setattr(snapshot, "save", slow_save)
    replica = replicas()
    await replica.start()
    await until(saving.is_set)
    await redis.cache.write(put(a_number(1)))
    await until(lambda: replica.get("+14155550101"))
    stopping = asyncio.create_task(replica.stop())
    await asyncio.sleep(0.05)
    go_on.set()
    await stopping
    assert most == 1
    last = await asyncio.to_thread(snapshot.load, tmp_path / "routes.snapshot")
    assert last is not None
    assert last.number("+14155550101")

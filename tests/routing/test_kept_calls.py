"""Records of established calls in a real Redis: who has them, and that each is claimed once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from routing.kept_calls import OWNERS, RECORD_SECONDS, Away, Kept, KeptCalls
from tests.routing.conftest import RedisServer, until

LEASE = 300.0
"""Seconds: longer than any test."""


@pytest.fixture
def of(redis: RedisServer) -> Callable[..., KeptCalls]:
    """An owner of that name."""
    return lambda owner, lease=LEASE: KeptCalls(redis.client, owner, lease)


def kept(number: int) -> Kept:
    return Kept(f"call-{number}", b"record %d" % number, (f"caller-{number}@host", f"agent-{number}"))


async def test_what_is_there_to_be_known_of_calls(redis, of):
    """One server for the whole story: its start costs more than all that happens on it."""
    first, second = of("node:5060#a"), of("node:5060#b")
    await _a_call_is_kept_found_and_dropped(redis, first, second)
    await _the_calls_of_the_living_are_nobody_elses(first, second)
    await _the_calls_of_the_dead_are_claimed_once(redis, first, second)
    await _a_claim_that_was_not_settled_is_anothers_in_the_end(redis, first, second)
    await _one_call_can_be_asked_for(first, second)
    await _who_was_away_learns_what_is_still_his(redis, first, second)
    await _nothing_stays_for_ever(redis, first)
    await _who_leaves_leaves_nothing(redis, first, second)


async def _a_call_is_kept_found_and_dropped(redis, first, second):
    assert not await first.beat()  # it is there for the first time
    assert await first.beat()
    assert abs(first.clock.now() - time.time()) < 60  # the same machine's
    await first.write([kept(1), kept(2)], [])
    owners = ["nobody#0", "node:5060#a"]
    assert await second.find("caller-1@host", owners) == ("node:5060#a", "call-1")
    assert await second.find("agent-2", owners) == ("node:5060#a", "call-2")
    assert await second.find("agent-2", []) is None
    assert await first.away() == Away({"call-1", "call-2"}, set())
    await first.write([], [kept(1)])
    assert await second.find("caller-1@host", owners) is None
    assert await first.away() == Away({"call-2"}, set())
    await first.drop(["call-2"])
    assert await second.find("agent-2", owners) is None  # a write that got lost had them, too
    await first.drop([])
    assert await first.away() == Away(set(), set())


async def _the_calls_of_the_living_are_nobody_elses(first, second):
    await first.write([kept(1)], [])
    assert await second.claim("node:5060#a", 10) is None
    assert "node:5060#a" not in await second.late()


async def _the_calls_of_the_dead_are_claimed_once(redis, first, second):
    await first.write([kept(number) for number in range(200)], [])
    await _dies(redis, first)
    assert await second.late() == ["node:5060#a"]
    rivals = [KeptCalls(redis.client, f"rival#{number}", LEASE) for number in range(4)]

    async def claims(rival: KeptCalls) -> list[str]:
        found = []
        while taken := await rival.claim("node:5060#a", 7):
            assert all(record == b"record %d" % int(call_id[5:]) for call_id, record in taken)
            assert len(taken) <= 7
            found += [call_id for call_id, _ in taken]
        return found

    shares = await asyncio.gather(*map(claims, rivals))
    claimed = [call_id for share in shares for call_id in share]
    assert sorted(claimed) == sorted(f"call-{number}" for number in range(200))
    assert sum(bool(share) for share in shares) > 1  # they did race
    assert not await rivals[0].settle("node:5060#a", claimed[:-1])
    assert await rivals[0].settle("node:5060#a", claimed[-1:])
    await rivals[0].bury("node:5060#a")
    assert await second.late() == []


async def _a_claim_that_was_not_settled_is_anothers_in_the_end(redis, first, second):
    await first.write([kept(1)], [])
    assert [call_id for call_id, _ in await second.claim("node:5060#a", 5)] == ["call-1"]
    third = KeptCalls(redis.client, "third#c", LEASE)
    assert await third.claim("node:5060#a", 5) == []
    await redis.client.hset("{vg:node:5060#a}:claims", "call-1", "1")  # long ago
    assert [call_id for call_id, _ in await third.claim("node:5060#a", 5)] == ["call-1"]
    assert await third.settle("node:5060#a", ["call-1"])


async def _one_call_can_be_asked_for(first, second):
    await first.write([kept(1), kept(2)], [])
    assert [call_id for call_id, _ in await second.claim("node:5060#a", 5, ["call-2", "none"])] == ["call-2"]
    assert await second.claim("node:5060#a", 5, ["call-2"]) == []
    await second.settle("node:5060#a", ["call-1", "call-2"])
    await first.beat()
    await first.write([kept(3)], [])
    assert await second.claim("node:5060#a", 5) is None
    assert [call_id for call_id, _ in await second.claim("node:5060#a", 5, dead=True)] == ["call-3"]
    await second.settle("node:5060#a", ["call-3"])


async def _who_was_away_learns_what_is_still_his(redis, first, second):
    await redis.client.delete("{vg:node:5060#a}:taken")
    await first.write([kept(1), kept(2)], [])
    await _dies(redis, first)
    await second.claim("node:5060#a", 1, ["call-1"])
    assert not await first.beat()
    assert await first.away() == Away({"call-2"}, {"call-1"})  # which is being taken over
    await second.write([kept(1)], [])
    await second.settle("node:5060#a", ["call-1"])
    assert await first.away() == Away({"call-2"}, {"call-1"})  # and has been
    assert await first.find("caller-1@host", ["node:5060#b"]) == ("node:5060#b", "call-1")


async def _nothing_stays_for_ever(redis, first):
    await first.write([kept(9)], [])
    await first.claim("node:5060#a", 1, ["call-9"], dead=True)
    for key in ("calls", "dialogs", "claims", "taken"):
        assert 0 < await redis.client.ttl("{vg:node:5060#a}:" + key) <= RECORD_SECONDS
    assert 0 < await redis.client.ttl("{vg:node:5060#a}:lease") <= LEASE
    await redis.client.zadd(OWNERS, {"forgotten#z": 1})
    assert "forgotten#z" not in await first.late()
    assert await redis.client.zscore(OWNERS, "forgotten#z") is None


async def _who_leaves_leaves_nothing(redis, first, second):
    await first.leave()
    await second.leave()
    assert await redis.client.keys("{vg:node*") == []


async def test_a_lease_runs_out_by_redis_own_clock(redis, of):
    short, other = of("short#a", 0.05), of("other#b")
    await short.beat()
    await short.write([kept(1)], [])

    async def claimed() -> bool:
        return bool(await other.claim("short#a", 1))

    found = []

    async def look() -> None:
        while not (await other.late() and await claimed()):  # noqa: ASYNC110 - only Redis knows when
            await asyncio.sleep(0.01)
        found.append(True)

    looking = asyncio.create_task(look())
    await until(lambda: found)
    await looking


async def _dies(redis: RedisServer, owner: KeptCalls) -> None:
    """Its lease has run out."""
    await redis.client.delete(f"{{vg:{owner.owner}}}:lease")
    await redis.client.zadd(OWNERS, {owner.owner: (await redis.client.time())[0] * 1000 - 5000})

"""The ledger in a real Redis: it answers as the model of it that thousands of schedules are run against."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from redis.exceptions import ResponseError

from routing import ledger as ledger_module
from routing.ledger import Ledger, endpoint_tag
from routing.share import Claim
from tests.routing.conftest import RedisServer
from tests.routing.ledger_model import LedgerModel

TAG = endpoint_tag("agt", "sip:a@h")
CALLS, OWNERS = f"{{vg:{TAG}}}:calls", f"{{vg:{TAG}}}:owners"


def claim(number: int, held: int, wanted: int, limit: int = 3) -> Claim:
    return Claim(number, held, wanted, limit, 0.0)


async def test_it_answers_as_its_model_does(redis: RedisServer) -> None:
    rng, model = random.Random(9), LedgerModel()
    owners = {name: Ledger(redis.client, name) for name in ("a", "b", "c#1")}
    for _ in range(400):
        owner, held = rng.choice(list(owners)), rng.randrange(4)
        asked = claim(rng.randrange(60), held, held + rng.randrange(3), rng.randrange(1, 6))
        assert await owners[owner].claim(TAG, asked) == model.claim(owner, asked), asked


async def test_what_runs_out_is_taken_off_by_whoever_comes_next_and_nothing_is_left(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, other = Ledger(redis.client, "dead"), Ledger(redis.client, "other")
    monkeypatch.setattr(ledger_module, "LIFETIME", 0.05)
    assert await dead.claim(TAG, claim(1, 0, 3)) == (3, 3)
    monkeypatch.undo()
    assert await other.claim(TAG, claim(1, 0, 1)) in {(0, 3), (1, 1)}
    await asyncio.sleep(0.06)  # what Redis's clock has to go through
    assert await other.claim(TAG, claim(2, 0, 3)) == (3, 3)
    monkeypatch.setattr(ledger_module, "LIFETIME", 0.01)
    assert await other.claim(TAG, claim(3, 0, 0)) == (0, 0)
    await asyncio.sleep(0.03)
    client: Any = redis.client
    assert await client.exists(CALLS, OWNERS) == 0


async def test_owners_know_what_they_have_whatever_became_of_the_ledger(redis: RedisServer) -> None:
    one, two = Ledger(redis.client, "one"), Ledger(redis.client, "two")
    assert await one.claim(TAG, claim(1, 0, 2)) == (2, 2)
    client: Any = redis.client
    await client.flushall()
    await client.script_flush()
    assert await two.claim(TAG, claim(1, 0, 3)) == (3, 3), "oversold by what was lost, until"
    assert await one.claim(TAG, claim(2, 2, 2)) == (2, 5), "it is said again"
    assert await two.claim(TAG, claim(2, 2, 3)) == (2, 4), "and then nobody gets more"


async def test_a_redis_that_takes_no_writes_is_an_error_and_no_answer(redis: RedisServer) -> None:
    client: Any = redis.client
    await client.config_set("maxmemory", "1")
    with pytest.raises(ResponseError):
        await Ledger(redis.client, "one").claim(TAG, claim(1, 0, 1))
    await client.config_set("maxmemory", "0")
    await client.replicaof("127.0.0.1", "1")
    with pytest.raises(ResponseError):
        await Ledger(redis.client, "one").claim(TAG, claim(1, 0, 1))
    await client.replicaof("NO", "ONE")
    assert await Ledger(redis.client, "one").claim(TAG, claim(1, 0, 1)) == (1, 1)


def test_endpoints_have_keys_of_their_own_without_what_is_secret() -> None:
    assert endpoint_tag("agt", "sip:u:secret@h") != endpoint_tag("agt", "sip:u@h")
    assert endpoint_tag("a", "b") != endpoint_tag("ab", "")
    assert "secret" not in endpoint_tag("agt", "sip:u:secret@h")

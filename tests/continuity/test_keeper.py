"""What is written of calls, when, and what happens while Redis is away."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gateway.continuity.keeper import PIECE, RENEW_SECONDS
from gateway.continuity.kept_call import FORM, decode, encode
from routing.kept_calls import Kept
from tests.continuity.rig import CLAIMED, KEPT, NUMBER, Rig, in_virtual_time


def record(rig: Rig):
    """The only one that Redis has."""
    (value,) = [each for calls in rig.redis.calls.values() for each in calls.values()]
    return decode(value)


@in_virtual_time
async def test_a_direct_call_is_kept_with_all_that_is_said_of_it(rig: Rig):
    await rig.call()
    kept = record(rig)
    assert (kept.number, kept.carrier, kept.destination, kept.role) == (NUMBER, "telnyx", "agt_1", "agent")
    assert kept.lives
    assert kept.agent is not None
    assert (kept.agent.agent_id, kept.agent.endpoint) == (
        "agt_1",
        rig.directory.agents["agt_1"].endpoints[0].url,
    )
    assert kept.theirs == kept.agent.offered == kept.agent.leg.described == rig.carrier.sdp()
    assert kept.shown == kept.agent.answered == kept.caller_leg.described
    assert (kept.caller_leg.inbound, kept.agent.leg.inbound) == (True, False)


@in_virtual_time
async def test_of_a_relayed_call_no_description_is_kept(rig: Rig):
    await rig.call(parameters="")
    kept = record(rig)
    assert not kept.lives
    assert kept.agent is not None
    assert {kept.theirs, kept.shown, kept.agent.offered, kept.caller_leg.described} == {b""}


@in_virtual_time
async def test_what_changes_is_kept_anew(rig: Rig):
    await rig.call()
    rig.carrier.leg.reinvite(rig.carrier.sdp(version=7))
    await asyncio.sleep(KEPT)
    assert record(rig).theirs == rig.carrier.sdp(version=7)


@in_virtual_time
async def test_a_call_that_is_over_is_dropped(rig: Rig):
    await rig.call()
    assert rig.redis.records == 1
    rig.carrier.leg.hangup()
    await asyncio.sleep(KEPT)
    assert rig.redis.records == 0
    assert not any(rig.redis.dialogs.values())


@in_virtual_time
async def test_a_call_that_is_over_at_once_is_never_written(rig: Rig):
    await rig.call()
    rig.carrier.leg.hangup()
    await asyncio.sleep(KEPT)
    wrote = []
    write = rig.first.keeper._store.write

    async def noted(kept, gone):
        wrote.append((kept, gone))
        await write(kept, gone)

    rig.first.keeper._store.write = noted
    call = next(iter(rig.first.registry), None)
    assert call is None
    rig.first.keeper.changed(stub := _Stub())
    rig.first.keeper.over(stub)
    await asyncio.sleep(KEPT)
    assert not wrote


@in_virtual_time
async def test_what_ends_or_changes_while_others_are_looked_at_is_not_lost(rig: Rig):
    keeper, looked, wrote = rig.first.keeper, [], []
    calls = [_Stub(f"call-{number}") for number in range(2 * PIECE)]

    def meanwhile() -> None:
        keeper.over(calls[0])
        keeper.over(calls[-1])
        keeper.changed(calls[1])

    def noted(call: _Stub) -> Kept:
        keeper._written[call.id] = ()
        looked.append(call.id)
        if len(looked) == PIECE:
            asyncio.get_running_loop().call_soon(meanwhile)
        return Kept(call.id, b"", ())

    async def write(kept, gone) -> None:
        wrote.append(([each.call_id for each in kept], [each.call_id for each in gone]))

    keeper._record, keeper._store.write = noted, write
    for call in calls:
        keeper.changed(call)
    await keeper.flush()
    names = [call.id for call in calls]
    assert wrote == [(names[:-1], names[:1]), ([names[1]], [])]


class _Stub:
    ceded = False

    def __init__(self, id: str = "call-x") -> None:
        self.id = id


@in_virtual_time
async def test_while_redis_is_away_nothing_waits_and_then_everything_is_kept(rig: Rig):
    failed, told = [], []
    rig.first.keeper._on_failed = lambda: failed.append(1)
    rig.first.keeper._on_error = told.append
    rig.redis.away = True
    await rig.call()
    assert rig.carrier.kinds()[-1] == "AnswerReceived"  # the call does not notice
    await asyncio.sleep(20)
    assert failed
    assert told == ["simulated"]  # said once
    rig.redis.away = False
    await asyncio.sleep(3)
    assert record(rig).number == NUMBER
    assert told == ["simulated", ""]


@in_virtual_time
async def test_what_ended_while_redis_was_away_is_dropped_after(rig: Rig):
    await rig.call()
    rig.redis.away = True
    rig.carrier.leg.hangup()
    await asyncio.sleep(3)
    rig.redis.away = False
    await asyncio.sleep(3)
    assert rig.redis.records == 0


@in_virtual_time
async def test_a_flushed_redis_is_filled_again(rig: Rig):
    await rig.call()
    rig.redis.flush()
    await asyncio.sleep(3)
    assert record(rig).number == NUMBER
    assert not rig.first.registry.get(record(rig).call_id).ceded


@in_virtual_time
async def test_records_are_renewed_before_they_expire(rig: Rig):
    keeper = rig.first.keeper
    rig.directory.agents.clear()
    rig.line()
    await rig.call()
    keeper._renew_at = rig.first.loop.time()
    rig.redis.calls[rig.first.owner].clear()  # as if it had expired
    await asyncio.sleep(KEPT)
    assert record(rig).number == NUMBER
    assert keeper._renew_at > rig.first.loop.time() + RENEW_SECONDS / 2


@in_virtual_time
async def test_who_was_cut_off_from_redis_lets_go_of_what_others_took_over(rig: Rig):
    await rig.call()
    (call,) = rig.first.registry
    beat = rig.first.keeper._store.beat

    async def cut_off() -> bool:
        raise OSError("no route to Redis")

    rig.first.keeper._store.beat = cut_off
    await asyncio.sleep(CLAIMED)
    assert rig.second.results == {"adopted": 1}
    assert record(rig).call_id == call.id
    rig.first.keeper._store.beat = beat
    await asyncio.sleep(3)
    assert call.ceded
    assert len(rig.first.registry) == 0
    assert not rig.first.records  # it is the other one's to tell
    assert not rig.carrier.requests("BYE")
    assert not rig.agent.requests("BYE")
    rig.carrier.leg.hangup()
    await asyncio.sleep(3)
    assert rig.agent.kinds()[-1] == "HungUp"
    assert [each.outcome for each in rig.second.records] == ["agent"]


@in_virtual_time
async def test_a_record_of_another_version_is_not_understood(rig: Rig):
    await rig.call()
    kept = record(rig)
    with pytest.raises(msgspec.DecodeError):
        decode(encode(msgspec.structs.replace(kept, form=FORM + 1)))
    with pytest.raises(msgspec.DecodeError):
        decode(encode(msgspec.structs.replace(kept, agent=None)))
    with pytest.raises(msgspec.DecodeError):
        decode(b"\x80")

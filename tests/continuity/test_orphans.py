"""Calls of gateways that died: who takes them over, when, and what their peers hear."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

from gateway.continuity.orphans import GRACE, MAX_LOOKUPS
from gateway.media.rtpengine import EngineCall
from gateway.sip.events import HungUp
from gateway.sip.message import Response
from gateway.sip.sdp import with_media_address
from tests.continuity.rig import CLAIMED, FIRST, KEPT, SECOND, Rig, in_virtual_time
from tests.simulation.nodes import LEASE, Node


@in_virtual_time
async def test_who_starts_again_takes_its_calls_over_at_once(rig: Rig):
    await rig.call()
    await rig.first.kill()
    again = await rig.node("first", FIRST, [rig.first.owner])
    await asyncio.sleep(2.0)
    assert again.results == {"adopted": 1}
    for end in (rig.carrier, rig.agent):  # both were asked, and answered
        (asked,) = end.requests("UPDATE")
        assert asked.contact.uri.startswith(f"sip:{FIRST}:")
    (call,) = again.registry
    assert (call.talking, call.destination, call.seconds > 3) == (True, "agt_1", True)
    assert any(moment.text == "taken over from a gateway that died" for moment in call.record.moments)
    rig.agent.leg.hangup()
    await asyncio.sleep(1.0)
    assert rig.carrier.kinds()[-1] == "HungUp"
    (record,) = again.records
    assert (record.outcome, record.cause, record.status) == ("agent", "agent hung up", 200)


@in_virtual_time
async def test_another_node_waits_for_the_lease_and_a_little_longer(rig: Rig):
    await rig.call()
    await rig.first.kill()
    await asyncio.sleep(LEASE + GRACE - 1.5)
    assert not rig.second.results
    await asyncio.sleep(CLAIMED - LEASE)
    assert rig.second.results == {"adopted": 1}
    rig.carrier.leg.hangup()
    await asyncio.sleep(1.0)
    assert rig.agent.kinds()[-1] == "HungUp"


@in_virtual_time
async def test_no_clock_of_another_node_makes_a_call_older(rig: Rig):
    await rig.first.kill()
    wrong = await rig.node("wrong", FIRST, ahead=-7200.0)
    await rig.call()
    await wrong.kill()
    await asyncio.sleep(CLAIMED)
    assert rig.second.results == {"adopted": 1}
    (call,) = rig.second.registry
    assert CLAIMED - 1 < call.seconds < 60
    assert call.talking


@in_virtual_time
async def test_no_other_agent_is_called_for_a_call_that_was_over(rig: Rig):
    await rig.call(fallback=True)
    rig.redis.away = True
    rig.carrier.leg.hangup()
    await asyncio.sleep(0.5)
    await rig.first.kill()
    rig.redis.away = False
    await asyncio.sleep(CLAIMED + 3)
    assert rig.second.results == {"adopted": 1}  # nobody knew better
    assert not rig.fallback.requests("INVITE")
    assert not list(rig.second.registry)


@in_virtual_time
async def test_when_redis_was_away_nobody_is_taken_for_dead(rig: Rig):
    await rig.call()
    rig.redis.away = True
    await asyncio.sleep(60)
    rig.redis.away = False
    await asyncio.sleep(10)
    assert not rig.first.results
    assert not rig.second.results
    assert len(rig.first.registry) == 1


@in_virtual_time
async def test_a_call_whose_audio_died_is_ended_on_both_sides(rig: Rig):
    await rig.call(parameters="")
    await rig.first.kill()
    again = await rig.node("first", FIRST, [rig.first.owner])
    await asyncio.sleep(2.0)
    assert again.results == {"ended": 1}
    for end in (rig.carrier, rig.agent):
        (said,) = [event for event in end.events if isinstance(event, HungUp)]
        assert said.reason_header == 'SIP;cause=503;text="the gateway of this call has died"'
    (record,) = again.records
    assert (record.outcome, record.cause) == ("agent", "the gateway of this call has died")


class Wanted:
    """A request for a dialog."""

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id


class Engines:
    """What a node asks of rtpengine, which itself outlives it."""

    def __init__(self, calls: dict[str, EngineCall], known: str = "192.0.2.9:2223") -> None:
        self.calls = calls
        self.known = known
        self.closed: list[str] = []
        self.told: list[tuple[str, dict[str, object]]] = []

    async def open(self, call_id: str, offer: bytes, answer: bytes, *, ipv6: bool = False) -> EngineCall:
        to_agent, to_caller = (with_media_address(offer, "192.0.2.9", port) for port in (40_000, 40_002))
        return self._call(call_id, to_agent, to_caller)

    def taken_up(self, address: str, call_id: str, to_agent: bytes, to_caller: bytes) -> EngineCall | None:
        return self._call(call_id, to_agent, to_caller) if address == self.known else None

    def _call(self, call_id: str, to_agent: bytes, to_caller: bytes) -> EngineCall:
        engine = SimpleNamespace(address="192.0.2.9:2223", up=False, command=self._command)
        call = EngineCall(engine, call_id, to_agent, to_caller, lambda call: self.closed.append(call.id))
        self.calls[call_id] = call
        return call

    async def _command(self, name: str, **fields: object) -> dict[str, object]:
        self.told.append((name, fields))
        return {}


async def _with_engines(rig: Rig, known: str = "192.0.2.9:2223") -> tuple[Engines, Node]:
    """A call through rtpengine, whose node is killed and started again."""
    calls: dict[str, EngineCall] = {}
    rig.first.dispatcher._trunk = replace(rig.first.dispatcher._trunk, engines=Engines(calls))
    await rig.call(parameters="")
    await rig.first.kill()
    engines = Engines(calls, known)
    again = await rig.node("first", FIRST, [rig.first.owner])
    again.orphans._adopt.__self__._trunk = replace(again.dispatcher._trunk, engines=engines)
    return engines, again


@in_virtual_time
async def test_a_call_through_rtpengine_lives_on(rig: Rig):
    engines, again = await _with_engines(rig)
    await asyncio.sleep(2.0)
    assert again.results == {"adopted": 1}
    rig.carrier.leg.reinvite(rig.carrier.sdp(version=7))
    await asyncio.sleep(1.0)
    assert b"192.0.2.9" in rig.agent.requests("INVITE")[-1].body  # its ports are still those of the relay
    assert ("offer", rig.carrier.sdp(version=7)) in [(name, told.get("sdp")) for name, told in engines.told]
    rig.carrier.leg.hangup()
    await asyncio.sleep(1.0)
    assert rig.agent.kinds()[-1] == "HungUp"
    assert engines.closed == list(engines.calls)


@in_virtual_time
async def test_a_call_through_somebody_elses_rtpengine_is_ended(rig: Rig):
    _, again = await _with_engines(rig, known="elsewhere:2223")
    await asyncio.sleep(2.0)
    assert again.results == {"ended": 1}
    assert rig.carrier.kinds()[-1] == rig.agent.kinds()[-1] == "HungUp"


@in_virtual_time
async def test_a_voicemail_call_is_ended(rig: Rig):
    rig.agent.peer.stop()
    await rig.call()
    await asyncio.sleep(3.0)
    await rig.first.kill()
    again = await rig.node("first", FIRST, [rig.first.owner])
    await asyncio.sleep(2.0)
    assert rig.carrier.kinds()[-1] == "HungUp"
    assert [each.outcome for each in again.records] == ["voicemail"]


@in_virtual_time
async def test_an_agent_that_is_lost_later_leaves_its_caller_to_the_plan(rig: Rig):
    await rig.call(fallback=True)
    await rig.first.kill()
    again = await rig.node("first", FIRST, [rig.first.owner])
    rig.agent.peer.crash()  # whoever is asked now is not there any more
    await asyncio.sleep(50.0)
    assert rig.fallback.kinds()  # the fallback has the caller
    (call,) = again.registry
    assert (call.destination, call.rescued) == ("agt_2", True)
    rig.carrier.leg.hangup()
    await asyncio.sleep(1.0)
    assert [each.outcome for each in again.records] == ["fallback_rescued"]


@in_virtual_time
async def test_a_request_for_an_orphan_takes_it_over_and_is_answered(rig: Rig):
    await rig.call()
    await rig.first.kill()
    await asyncio.sleep(LEASE + 0.5)  # nobody has looked twice yet
    rig.carrier.leg.dialog.remote_target = f"sip:{SECOND}:5060"  # behind an edge that knows who is alive
    rig.carrier.leg.hangup()
    await asyncio.sleep(1.0)
    assert rig.second.results == {"adopted": 1}
    assert rig.carrier.kinds()[-1] == "LegEnded"
    assert _statuses(rig, "BYE") == [200]
    assert rig.agent.kinds()[-1] == "HungUp"


@in_virtual_time
async def test_a_request_for_a_call_of_somebody_who_lives_is_misled(rig: Rig):
    await rig.call()
    rig.carrier.leg.dialog.remote_target = f"sip:{SECOND}:5060"
    rig.carrier.leg.info("text/plain", b"hello")
    await asyncio.sleep(1.0)
    assert _statuses(rig, "INFO") == [481]
    assert not rig.second.results
    (call,) = rig.first.registry
    call.dismiss("the test is over", 480)


@in_virtual_time
async def test_dialogs_that_somebody_makes_up_do_not_reach_redis_for_ever(rig: Rig):
    asked = []

    class Stray:
        call_id = "nobody's"

    find = rig.second.orphans._hot.late

    async def counted():
        asked.append(1)
        return await find()

    rig.second.orphans._hot.late = counted
    await asyncio.gather(*(rig.second.orphans.look_for(Stray()) for _ in range(5 * MAX_LOOKUPS)))
    assert len(asked) < 3 * MAX_LOOKUPS
    rig.redis.away = True
    await asyncio.sleep(1.0)
    await rig.second.orphans.look_for(Stray())  # which is answered 481 all the same
    rig.redis.away = False


@in_virtual_time
async def test_a_request_has_a_worker_take_over_what_a_sibling_had_that_has_just_died(rig: Rig):
    await rig.call()
    await rig.first.kill()
    call_id = rig.carrier.leg.call_id
    await rig.second.orphans.look_for(Wanted(call_id))
    assert not rig.second.results, "its lease has not run out, and nobody knows that it died"
    rig.second.dead_siblings.append(rig.first.owner)
    await rig.second.orphans.look_for(Wanted(call_id))
    assert rig.second.results == {"adopted": 1}
    again = await rig.node("first", FIRST, [rig.first.owner])
    await asyncio.sleep(CLAIMED)
    assert not again.results, "it was taken over once"
    rig.carrier.leg.hangup()
    await asyncio.sleep(1.0)
    assert rig.agent.kinds()[-1] == "HungUp"


@in_virtual_time
async def test_what_cannot_be_understood_is_lost_and_gone(rig: Rig):
    await rig.call()
    owner = rig.first.owner
    await rig.first.kill()
    (call_id,) = rig.redis.calls[owner]
    rig.redis.calls[owner][call_id] = b"\x80"
    await asyncio.sleep(CLAIMED)
    assert rig.second.results == {"lost": 1}
    assert rig.redis.records == 0
    rig.carrier.leg.hangup()
    rig.agent.leg.hangup()


@in_virtual_time
async def test_a_claim_that_redis_has_not_heard_the_end_of_is_settled_later(rig: Rig):
    await rig.call()
    await rig.first.kill()
    settle, tries = rig.second.orphans._store.settle, []

    async def failing(owner, call_ids):
        tries.append(call_ids)
        if len(tries) < 3:
            raise OSError("connection reset")
        return await settle(owner, call_ids)

    rig.second.orphans._store.settle = failing
    await asyncio.sleep(CLAIMED + 5)
    assert rig.second.results == {"adopted": 1}
    assert not rig.redis.calls[rig.first.owner]
    rig.carrier.leg.hangup()
    await asyncio.sleep(KEPT)


def _statuses(rig: Rig, method: str) -> list[int]:
    """What the carrier was answered."""
    found = [
        each.status for each in rig.carrier.heard if isinstance(each, Response) and each.cseq_method == method
    ]
    return list(dict.fromkeys(found))

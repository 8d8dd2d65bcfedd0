"""The orderly end: calls finish, and those that do not are told why."""

from __future__ import annotations

import asyncio

from tests.calls.rig import Rig, answering, in_virtual_time


@in_virtual_time
async def test_calls_that_finish_in_time_are_left_alone(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    leg = rig.dial()
    await asyncio.sleep(1)
    draining = asyncio.ensure_future(rig.registry.drain(30))
    await asyncio.sleep(5)
    assert not draining.done()
    leg.hangup()
    await asyncio.sleep(1)
    assert draining.result() == 0
    assert rig.record.cause == "caller hung up"


@in_virtual_time
async def test_calls_that_outlive_it_are_ended_on_both_sides_with_a_reason(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    rig.dial()
    await asyncio.sleep(1)
    assert await rig.registry.drain(3) == 1
    await asyncio.sleep(1)
    bye = rig.caller.requests("BYE")[0]
    assert bye.headers.get("Reason") == 'SIP;cause=503;text="the gateway is shutting down"'
    assert agent.requests("BYE")
    assert rig.record.outcome == "agent"
    assert len(rig.registry) == 0


@in_virtual_time
async def test_a_caller_not_answered_yet_is_sent_to_another_node(rig: Rig):
    agent = await rig.agent(lambda leg: leg.ring())
    rig.line(agent)
    rig.dial()
    await asyncio.sleep(1)
    assert await rig.registry.drain(1) == 1
    await asyncio.sleep(1)
    assert rig.caller.statuses() == [100, 180, 503]
    assert rig.caller.response(503).headers.get("Retry-After")
    assert agent.requests("CANCEL")
    assert rig.record.outcome == "failed"


@in_virtual_time
async def test_live_calls_can_be_found_and_ended_by_id(rig: Rig):
    rig.line(await rig.agent(answering()))
    rig.dial()
    await asyncio.sleep(1)
    (call,) = rig.registry
    assert rig.registry.get("call-1") is call
    call.dismiss("an operator's order", 480)
    await asyncio.sleep(1)
    assert rig.registry.get("call-1") is None
    assert rig.record.cause == "an operator's order"

"""Two gateways share an agent's `max_calls`: what one of them uses the other does not, also beyond its death."""

from __future__ import annotations

import asyncio

from routing.share import LIFETIME
from tests.continuity.rig import CLAIMED, FIRST, SECOND, Rig, in_virtual_time


def invited(rig: Rig) -> tuple[int, int]:
    """Calls that came to the agent, and to its fallback."""
    return len(rig.agent.requests("INVITE")), len(rig.fallback.requests("INVITE"))


async def hang_up_all(rig: Rig) -> None:
    for leg in rig.carrier.legs:
        if not leg.ended:
            leg.hangup()
    await asyncio.sleep(2.0)


@in_virtual_time
async def test_no_agent_has_more_calls_than_it_takes_whichever_gateway_has_them(rig: Rig):
    rig.line(fallback=True, max_calls=2)
    for gateway in (FIRST, SECOND, FIRST, SECOND):
        await rig.call(gateway)
    assert invited(rig) == (2, 2)
    assert not rig.first.leases.away
    assert not rig.second.leases.away
    rig.carrier.legs[0].hangup()
    await asyncio.sleep(2.0)
    await rig.call(SECOND)  # the first gateway's place is the second one's now
    assert invited(rig) == (3, 2)
    await hang_up_all(rig)


@in_virtual_time
async def test_a_call_that_is_taken_over_keeps_its_place(rig: Rig):
    rig.line(fallback=True, max_calls=1)
    await rig.call(FIRST)
    await rig.first.kill()
    await asyncio.sleep(CLAIMED + LIFETIME)
    assert rig.second.results == {"adopted": 1}
    await rig.call(SECOND)
    assert invited(rig) == (1, 1)
    await hang_up_all(rig)
    await rig.call(SECOND)
    assert invited(rig) == (2, 1)
    await hang_up_all(rig)


@in_virtual_time
async def test_the_places_of_a_dead_gateway_run_out(rig: Rig):
    rig.line("", fallback=True, max_calls=1)  # relayed: the call dies with its gateway
    await rig.call(FIRST)
    await rig.first.kill()
    await asyncio.sleep(LIFETIME / 2)
    await rig.call(SECOND)
    assert invited(rig) == (1, 1), "nobody knows yet that the place is free"
    await asyncio.sleep(LIFETIME)
    await rig.call(SECOND)
    assert invited(rig) == (2, 1)
    await hang_up_all(rig)


@in_virtual_time
async def test_without_redis_each_gateway_keeps_to_its_part(rig: Rig):
    rig.line(fallback=True, max_calls=2)
    rig.redis.away = True
    for gateway in (FIRST, FIRST, SECOND, SECOND):
        await rig.call(gateway)
    assert invited(rig) == (2, 2)
    rig.redis.away = False
    await hang_up_all(rig)

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from gateway.media.port_pool import PortPool
from gateway.media.relay import Relay
from gateway.media.rtp import pack

Run = Callable[..., Any]


def test_every_packet_goes_to_the_other_side_untouched(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        a, b = ports.open(), ports.open()
        Relay(a, b)
        a.sink(b"from a, whatever it is")
        b.sink(b"from b")
        assert [packet for _, packet in b.sent] == [b"from a, whatever it is"]
        assert [packet for _, packet in a.sent] == [b"from b"]

    run_virtual(scene())


def test_reports_end_at_the_relay(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        a, b = ports.open(), ports.open()
        Relay(a, b)
        a.rtcp_sink(b"report of a")
        b.rtcp_sink(b"report of b")
        assert a.sent_rtcp == b.sent_rtcp == []

    run_virtual(scene())


def test_silence_is_counted_for_each_side(ports: Any) -> None:
    now = 50.0
    a, b = ports.open(), ports.open()
    relay = Relay(a, b, clock=lambda: now)
    assert relay.silence(60.0) == (10.0, 10.0)
    a.last_packet_at = 58.0
    assert relay.silence(60.0) == (2.0, 10.0)


def test_a_packet_at_time_zero_is_a_packet(ports: Any) -> None:
    a, b = ports.open(), ports.open()
    relay = Relay(a, b, clock=lambda: -5.0)
    a.last_packet_at = 0.0
    assert relay.silence(1.0) == (1.0, 6.0)


def test_a_rescue_joins_the_caller_to_another_leg(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        caller, dead, fresh = ports.open(), ports.open(), ports.open()
        now = 10.0
        relay = Relay(caller, dead, clock=lambda: now)
        now = 30.0
        relay.retarget(fresh)
        assert dead.closed
        assert relay.silence(31.0) == (21.0, 1.0)
        caller.sink(b"hello?")
        fresh.sink(b"here I am")
        assert [packet for _, packet in fresh.sent] == [b"hello?"]
        assert [packet for _, packet in caller.sent] == [b"here I am"]
        assert dead.sent == []
        relay.close()
        assert caller.closed
        assert fresh.closed

    run_virtual(scene())


def test_the_caller_can_be_kept_for_a_session(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        caller, agent = ports.open(), ports.open()
        relay = Relay(caller, agent)
        assert relay.detach() is caller
        assert agent.closed
        assert not caller.closed
        caller.sink(b"nobody there")
        assert agent.sent == []

    run_virtual(scene())


async def test_on_real_sockets_twenty_calls_hear_their_own_agent_and_no_other() -> None:
    pool = PortPool("127.0.0.1")
    calls = []
    for number in range(20):
        ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for end in ends:
            end.bind(("127.0.0.1", 0))
            end.setblocking(False)
        relay = Relay(pool.open(), pool.open())
        relay.a.set_remote(*ends[0].getsockname())
        relay.b.set_remote(*ends[1].getsockname())
        calls.append((number, ends, relay))
    for sequence in range(10):
        for number, (caller, agent), relay in calls:
            caller.sendto(pack(0, sequence, sequence * 160, number, b"c%d" % number), relay.a.address)
            agent.sendto(pack(0, sequence, sequence * 160, 1000 + number, b"a%d" % number), relay.b.address)
        await asyncio.sleep(0.002)
    legs = [leg for _, _, relay in calls for leg in (relay.a, relay.b)]
    async with asyncio.timeout(5):
        while any(leg.stats.packets_out < 10 for leg in legs):  # noqa: ASYNC110 - it waits for the network
            await asyncio.sleep(0.001)
    for number, (caller, agent), relay in calls:
        at_agent = [agent.recv(100) for _ in range(10)]
        at_caller = [caller.recv(100) for _ in range(10)]
        assert at_agent == [pack(0, index, index * 160, number, b"c%d" % number) for index in range(10)]
        assert at_caller == [
            pack(0, index, index * 160, 1000 + number, b"a%d" % number) for index in range(10)
        ]
        with pytest.raises(BlockingIOError):
            caller.recv(100)
        relay.close()
        caller.close()
        agent.close()
    assert pool.in_use == 0
    pool.close()

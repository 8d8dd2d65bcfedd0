"""What a place at an endpoint costs: without max_calls, with it one after the other, and in bursts.

Usage: python -m loadtests.bench_places [calls]

Starts a redis-server of its own on a unix socket; prints CPU of this process and time, microseconds a call.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from routing.health import EndpointHealth
from routing.leases import Leases
from routing.ledger import Ledger
from routing.models import Agent, Endpoint
from routing.redis_clients import HOT_TIMEOUT, connect
from routing.redis_server import EmbeddedRedis

BURST = 50


async def _one(health: EndpointHealth, agent: Agent) -> None:
    lease = await health.acquire(agent, agent.endpoints[0])
    assert lease is not None
    lease.release()


async def _measured(name: str, calls: int, work: Callable[[], Awaitable[None]]) -> None:
    cpu, began = time.process_time(), time.perf_counter()
    await work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - began
    print(f"{name:<42} {cpu / calls * 1e6:7.1f} µs CPU {wall / calls * 1e6:7.1f} µs")


async def run(calls: int) -> None:
    """Measure all three."""
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedRedis(Path(directory))
        await server.start()
        client = connect(server.url, HOT_TIMEOUT)
        leases = Leases(Ledger(client, "one"), Ledger(client, "one"), lambda: 1, time.monotonic)
        health = EndpointHealth(time.monotonic, places=leases)
        free = Agent("a", "A", (Endpoint("sip:a@h"),))
        limited = Agent("b", "B", (Endpoint("sip:b@h", max_calls=10_000),))

        async def apart(agent: Agent) -> None:
            for _ in range(calls):
                await _one(health, agent)
                if agent is limited:
                    await asyncio.sleep(0.0005)  # calls have other things to do in between

        async def together() -> None:
            for _ in range(calls // BURST):
                await asyncio.gather(*(_one(health, limited) for _ in range(BURST)))

        keeping = asyncio.create_task(leases.run())
        await _one(health, limited)
        await _measured("without max_calls", calls, lambda: apart(free))
        await _measured("with max_calls, one after the other", calls, lambda: apart(limited))
        await _measured(f"with max_calls, {BURST} at a time", calls, together)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await leases.stop()
        await client.aclose()
        await server.stop()


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000))

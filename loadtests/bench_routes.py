"""A million routes: writing them, starting a node with them, memory, lookups, a change under way.

    python loadtests/bench_routes.py [--routes 1000000]

A redis-server of its own on a unix socket; one process writes, a fresh one is the node that is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from routing.cache import Change, RoutingCache, encode
from routing.models import Agent, Endpoint, Fallback, InboundRouting, PhoneNumber
from routing.redis_clients import BACKGROUND_TIMEOUT, connect
from routing.redis_server import EmbeddedRedis, socket_url
from routing.replica import Replica

AGENTS = 1000
LOOKUPS = 200_000
MISSES = 2000
CHANGES = 1000
WRITTEN_AT_ONCE = 10_000
STALL_PERIOD = 0.001


class Silent:
    """Counts only what the last part of the benchmark asks for."""

    def __init__(self) -> None:
        self.propagations: list[float] = []

    def lookup(self, source: str, result: str, seconds: float) -> None: ...

    def sync_error(self) -> None: ...

    def numbers_known(self, count: int) -> None: ...

    def propagated(self, seconds: float) -> None:
        self.propagations.append(seconds)


def key(index: int) -> str:
    return f"+1415{index:07}"


def changes(routes: int) -> Iterator[Change]:
    for index in range(AGENTS):
        agent_id = f"agt_{index:05}"
        agent = Agent(agent_id, f"Agent {index}", (Endpoint(f"sip:{agent_id}@192.0.2.10"),))
        yield Change("agent", agent_id, encode(agent))
    for index in range(routes):
        number = PhoneNumber(
            id=f"phn_{index:012}",
            phone_number=key(index),
            friendly_name=f"Line {index}",
            provider="twilio",
            agent_id=f"agt_{index % AGENTS:05}",
            inbound_routing=InboundRouting(fallback=Fallback(f"agt_{(index + 1) % AGENTS:05}")),
            updated_at="2026-11-23T12:00:00Z",
        )
        yield Change("number", number.phone_number, encode(number))


async def write(url: str, routes: int) -> None:
    client = connect(url, BACKGROUND_TIMEOUT)
    cache = RoutingCache(client)
    pending = list(changes(routes))
    began = time.perf_counter()
    for start in range(0, len(pending), WRITTEN_AT_ONCE):
        await cache.write(pending[start : start + WRITTEN_AT_ONCE])
    await cache.seal()
    spent = time.perf_counter() - began
    used = (await client.info("memory"))["used_memory"] / 2**20
    await client.aclose()
    print(
        f"write            {spent:8.2f} s   {len(pending) / spent:,.0f} changes/s, Redis holds {used:.0f} MiB"
    )


async def longest_stall(stop: asyncio.Event) -> float:
    """Longest time in which the event loop did not come round, in seconds."""
    longest = 0.0
    while not stop.is_set():
        before = time.perf_counter()
        await asyncio.sleep(STALL_PERIOD)
        longest = max(longest, time.perf_counter() - before - STALL_PERIOD)
    return longest


async def node(url: str, routes: int, snapshot: Path) -> None:
    observer = Silent()
    before = resident()
    replica = Replica(url, observer, snapshot_path=snapshot)
    stop = asyncio.Event()
    stalls = asyncio.create_task(longest_stall(stop))
    began = time.perf_counter()
    await replica.start()
    print(f"node start       {time.perf_counter() - began:8.2f} s   {len(replica.view):,} numbers")
    stop.set()
    print(f"  longest stall  {await stalls * 1e3:8.1f} ms  of the event loop meanwhile")
    print(f"memory           {resident() - before:8.0f} MiB more than an empty process")
    lookups(replica, routes)
    await misses(replica, routes)
    await propagation(url, replica, observer)
    stop = asyncio.Event()
    stalls = asyncio.create_task(longest_stall(stop))
    began = time.perf_counter()
    await replica.stop()
    spent = time.perf_counter() - began
    stop.set()
    size = (await asyncio.to_thread(snapshot.stat)).st_size / 2**20
    print(f"snapshot         {spent:8.2f} s   {size:.0f} MiB on disk")
    print(f"  longest stall  {await stalls * 1e3:8.1f} ms")
    away = Replica("unix:///nonexistent/redis.sock", observer, snapshot_path=snapshot)
    began = time.perf_counter()
    await away.start()
    print(f"start, no Redis  {time.perf_counter() - began:8.2f} s   {len(away.view):,} numbers from disk")
    await away.stop()


def lookups(replica: Replica, routes: int) -> None:
    rng = random.Random(1)
    known = [key(rng.randrange(routes)) for _ in range(LOOKUPS)]
    unknown = [f"+1555{rng.randrange(10**7):07}" for _ in range(LOOKUPS)]
    for name, asked in (("hit", known), ("not here", unknown)):
        began = time.perf_counter()
        for phone_number in asked:
            replica.get(phone_number)
        print(f"lookup, {name:8} {(time.perf_counter() - began) / LOOKUPS * 1e6:8.2f} µs")


async def misses(replica: Replica, routes: int) -> None:
    taken = []
    for index in range(MISSES):
        began = time.perf_counter()
        await replica.lookup(key(routes + index))
        taken.append(time.perf_counter() - began)
    taken.sort()
    print(f"miss, asks Redis {taken[len(taken) // 2] * 1e6:8.0f} µs  median; {taken[-20] * 1e6:.0f} µs p99")


async def propagation(url: str, replica: Replica, observer: Silent) -> None:
    client = connect(url, BACKGROUND_TIMEOUT)
    cache = RoutingCache(client)
    agent = Agent("agt_new", "New", (Endpoint("sip:new@192.0.2.10"),))
    observer.propagations.clear()
    for _ in range(CHANGES):
        await cache.write([Change("agent", agent.id, encode(agent))])
    while len(observer.propagations) < CHANGES:  # noqa: ASYNC110 - a benchmark
        await asyncio.sleep(0.01)
    await client.aclose()
    taken = sorted(observer.propagations)
    median, p99 = taken[CHANGES // 2] * 1e3, taken[-CHANGES // 100] * 1e3
    print(f"propagation      {median:8.1f} ms  median; {p99:.1f} ms p99")


def resident() -> float:
    """MiB that this process holds in memory now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def main(routes: int) -> None:
    directory = Path(tempfile.mkdtemp(prefix="bench-routes-"))
    server = EmbeddedRedis(directory, on_event=print)
    await server.start()
    try:
        for role in ("write", "node"):
            command = (
                sys.executable,
                __file__,
                "--routes",
                str(routes),
                "--role",
                role,
                "--dir",
                str(directory),
            )
            process = await asyncio.create_subprocess_exec(*command)
            if await process.wait():
                sys.exit(process.returncode)
    finally:
        await server.stop()
        shutil.rmtree(directory)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--routes", type=int, default=1_000_000)
    parser.add_argument("--role", choices=("all", "write", "node"), default="all", help=argparse.SUPPRESS)
    parser.add_argument("--dir", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role == "all":
        asyncio.run(main(arguments.routes))
    else:
        address = socket_url(arguments.dir)
        if arguments.role == "write":
            asyncio.run(write(address, arguments.routes))
        else:
            asyncio.run(node(address, arguments.routes, arguments.dir / "routes.snapshot"))

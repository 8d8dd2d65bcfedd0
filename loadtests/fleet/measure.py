"""What a real Redis needs for each command of the routing and capacity plane: processor time of the
server."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from routing.cache import Change, RoutingCache
from routing.ledger import Ledger
from routing.nodes import NodeRegistry, NodeWords
from routing.redis_clients import connect
from routing.share import Claim

ROUNDS: Final = 3000
GATEWAYS: Final = 1000
"""That an endpoint's ledger and the registry know: more make both larger."""


async def measured(directory: Path) -> dict[str, float]:
    """Microseconds of the server's processor for each command, its reading and writing included."""
    socket = directory / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", ""]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        for _ in range(100):
            if socket.exists():
                break
            await asyncio.sleep(0.05)
        redis = connect(f"unix://{socket}", 5.0)
        try:
            return await _measured(redis, server.pid)
        finally:
            await redis.aclose()
    finally:
        server.terminate()
        await server.wait()


async def _measured(redis: Redis, pid: int) -> dict[str, float]:
    numbers = itertools.count(1)
    cache, registry = RoutingCache(redis), NodeRegistry(redis)
    words = NodeWords(incarnation="x", version="0", started_at=0.0)
    await cache.write([Change("number", f"+1415555{number:04d}", b"x" * 200) for number in range(100)])
    await cache.seal()
    ledgers = [Ledger(redis, f"n{number}") for number in range(GATEWAYS)]

    async def claim() -> None:
        number = next(numbers)
        await ledgers[number % GATEWAYS].claim("endpoint", Claim(number, 1, 1 + number % 2, 10_000, 0.0))

    async def beat() -> None:
        await registry.beat(f"n{next(numbers) % GATEWAYS}", words)

    async def changes() -> None:
        await cache.changes_since(99, 0)

    async def state() -> None:
        await cache.state(100)

    costs: dict[str, Callable[[], Awaitable[Any]]] = {
        "claim": claim,
        "beat": beat,
        "changes": changes,
        "state": state,
    }
    found: dict[str, float] = {}
    for name, work in costs.items():
        for _ in range(GATEWAYS):
            await work()
        before = _cpu_seconds(pid)
        for _ in range(ROUNDS):
            await work()
        found[name] = (_cpu_seconds(pid) - before) / ROUNDS * 1e6
    return found


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

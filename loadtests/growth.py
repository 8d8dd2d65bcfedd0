"""Whether a call costs the same however many there are: held at once, routes known, calls there have been.

    python -m loadtests.growth                  10 to 1,000 held, 1,000 to 100,000 routes, 20,000 calls
    python -m loadtests.growth --full           10,000 held, 1,000,000 routes, 1,000,000 calls: an hour
    python -m loadtests.growth concurrent       one of concurrent, core, routes, calls

`concurrent` holds whole calls in a gateway process with its default settings, but for how many it takes:
direct media, both legs, records, history, traces. A million of those would take hours, so `calls`, and `core`
for calls held, go through the SIP core in this process, in virtual time, as in `bench_core`: 14 messages,
without sockets and without what is around the core. Routes are those of `bench_routes`: a node's replica,
filled from a Redis of its own. Each part runs in a process of its own; data and a plot each go to
`docs/data`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import math
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.garbage import settle
from loadtests.awake import awake
from loadtests.bench_core import RATE, Bench
from loadtests.bench_routes import Silent, changes, key
from loadtests.held_calls import HeldCalls
from loadtests.plot import Line, plot
from loadtests.process_meter import resident_kib
from loadtests.systems import System, voice_gateway
from routing.cache import RoutingCache
from routing.redis_clients import BACKGROUND_TIMEOUT, connect
from routing.redis_server import EmbeddedRedis
from routing.replica import Replica

DATA: Final = Path(__file__).parent.parent / "docs" / "data"

HELD: Final = (10, 100, 1_000, 10_000)
MEASURED: Final = 400
"""Calls placed, and as many ended, while that many others are up."""

ROUTES: Final = (1_000, 10_000, 100_000)
ALL_ROUTES: Final = (*ROUTES, 1_000_000)
LOOKUPS: Final = 50_000
WRITTEN_AT_ONCE: Final = 10_000

NUMBER: Final = "+14155550198"
WARM: Final = 500
"""Calls before anything is measured: the first ones fill caches and pools."""

OVER: Final = 40.0
"""Seconds until the transactions of calls that were set up, or have ended, are over."""

IDLE: Final = 15.0
"""Seconds of watching what calls cost that are merely up."""

CALLS, ALL_CALLS = 20_000, 1_000_000
PARTS: Final = 10
"""Looks at the cost and at the memory while they pass."""

REMEMBERED: Final = round(35 * RATE)
"""Calls until as many transactions of ended ones run out as are added (RFC 3261: 32 s)."""

RUNS: Final = 3
"""The cheapest counts: the machine is shared."""

Rows = list[dict[str, float]]


def concurrent(full: bool) -> Rows:
    """CPU of a whole call in a gateway process, and memory of one more, with so many held."""
    with tempfile.TemporaryDirectory(prefix="growth-") as name, contextlib.ExitStack() as stack:
        calls = HeldCalls(NUMBER)
        stack.callback(calls.close)
        room: dict[str, object] = {"max_active_calls": 2 * HELD[-1]}
        system = voice_gateway(Path(name), stack, [(NUMBER, calls.agent_uri)], admission=room)
        calls.gateway = system.sip
        calls.place(WARM)
        calls.end(WARM)
        calls.wait(OVER)
        empty, rows = system.resident_kib, []
        for held in HELD if full else HELD[:-1]:
            calls.place(held - len(calls.up))
            if calls.lost:
                raise RuntimeError(f"{calls.lost} calls were lost on the way to {held}")
            calls.wait(OVER)
            memory = (system.resident_kib - empty) / held
            before = _idle(calls, system)
            began, cpu = time.monotonic(), system.cpu_ms
            calls.place(MEASURED)
            calls.end(MEASURED)
            elapsed, used = time.monotonic() - began, system.cpu_ms - cpu
            calls.wait(OVER)
            idle = (before + _idle(calls, system)) / 2
            cost = (used - idle * elapsed) / MEASURED
            rows.append({"held": held, "ms a call": cost, "kB a call": memory, "idle ms/s": idle})
        calls.end(len(calls.up))
    return rows


def _idle(calls: HeldCalls, system: System) -> float:
    """Milliseconds of CPU a second while nothing happens."""
    began, cpu = time.monotonic(), system.cpu_ms
    calls.wait(IDLE)
    return (system.cpu_ms - cpu) / (time.monotonic() - began)


def core(full: bool) -> Rows:
    """The same for the SIP core alone, in virtual time."""
    bench = Bench()
    bench.run(2_000)
    settle()
    began, empty = 1, resident_kib(os.getpid())
    up, rows = [], []
    for held in HELD:
        while len(up) < held:
            bench.now += 1 / RATE
            bench.ua.handle_timers()
            up.append(bench.start(began))
            began += 1
        bench.now += 40  # transactions of the past are over
        bench.ua.handle_timers()
        memory = (resident_kib(os.getpid()) - empty) / held
        best = math.inf
        for _ in range(RUNS):
            bench.cpu = 0.0
            for _ in range(MEASURED):
                bench.now += 1 / RATE
                bench.timed(bench.ua.handle_timers)
                up.append(bench.start(began))
                bench.finish(*up.pop(0))
                began += 1
            best = min(best, bench.cpu / MEASURED)
        rows.append({"held": held, "µs a call": best * 1e6, "kB a call": memory})
    return rows


def calls(full: bool) -> Rows:
    """CPU of a call and memory, one call after the other."""
    bench = Bench()
    bench.run(REMEMBERED)
    settle()
    part = (ALL_CALLS if full else CALLS) // PARTS
    rows, empty = [], resident_kib(os.getpid())
    for number in range(1, PARTS + 1):
        cost = bench.run(part)
        grown = (resident_kib(os.getpid()) - empty) / 1024
        rows.append({"calls": number * part, "µs a call": cost, "MiB more": grown})
    return rows


def routes(full: bool) -> Rows:
    """A look-up, and the memory of a route, with so many known."""
    return [asyncio.run(_routes(count)) for count in (ALL_ROUTES if full else ROUTES)]


async def _routes(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="growth-") as name:
        server = EmbeddedRedis(Path(name), on_event=print)
        await server.start()
        try:
            client = connect(server.url, BACKGROUND_TIMEOUT)
            cache, pending = RoutingCache(client), list(changes(count))
            for start in range(0, len(pending), WRITTEN_AT_ONCE):
                await cache.write(pending[start : start + WRITTEN_AT_ONCE])
            await cache.seal()
            await client.aclose()
            del pending
            gc.collect()
            empty = resident_kib(os.getpid())
            replica = Replica(server.url, Silent(), snapshot_path=Path(name) / "snapshot")
            await replica.start()
            memory = (resident_kib(os.getpid()) - empty) / count
            rng = random.Random(1)
            asked = [key(rng.randrange(count)) for _ in range(LOOKUPS)]
            best = math.inf
            for _ in range(RUNS):
                began = time.process_time()
                for number in asked:
                    replica.get(number)
                best = min(best, time.process_time() - began)
            assert replica.get(asked[0]) is not None
            await replica.stop()
        finally:
            await server.stop()
    return {"routes": count, "µs a look-up": best / LOOKUPS * 1e6, "kB a route": memory}


PLOTS: Final[dict[str, tuple[Callable[[bool], Rows], str, str]]] = {
    "concurrent": (concurrent, "held", "calls held at once, as a power of ten"),
    "core": (core, "held", "calls held at once in the core, as a power of ten"),
    "routes": (routes, "routes", "routes known, as a power of ten"),
    "calls": (calls, "calls", "calls there have been, thousands"),
}


def drawn(part: str, rows: Rows) -> str:
    """The plot of a part: what it costs, over what grows."""
    _, across, label = PLOTS[part]
    cost, memory = [name for name in rows[0] if name != across][:2]

    def place(value: float) -> float:
        return value / 1000 if part == "calls" else math.log10(value)

    lines = [
        Line(name, [(place(row[across]), row[name]) for row in rows if name in row])
        for name in (cost, memory)
    ]
    return plot("Growth", label, f"{cost}; {memory}", lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="What calls cost as numbers grow.")
    parser.add_argument("part", nargs="*", choices=sorted(PLOTS), help="By default all.")
    parser.add_argument("--full", action="store_true", help="A million routes, a million calls.")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(PLOTS[options.part[0]][0](options.full)))
        return 0
    kept = DATA / "growth.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    for part in options.part or PLOTS:
        command = [sys.executable, "-m", "loadtests.growth", part, "--alone"]
        command += ["--full"] if options.full else []
        with awake():
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        rows = json.loads(done.stdout.splitlines()[-1])
        names = list(rows[0])
        print(f"| {' | '.join(names)} |\n|{'---:|' * len(names)}")
        for row in rows:
            values = (row[name] for name in names)
            cells = (f"{value:,.3g}" if value < 1000 else f"{value:,.0f}" for value in values)
            print(f"| {' | '.join(cells)} |")
        found[part] = {"rows": rows, "python": platform.python_version(), "machine": platform.platform()}
        (DATA / f"growth-{part}.svg").write_text(drawn(part, rows))
        kept.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

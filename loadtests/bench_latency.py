"""How long callers wait while the gateway is busy: to the 100, to the agent, and to the next agent.

    python -m loadtests.bench_latency [--rate 100] [--seconds 20]

SIPp places `--rate` calls a second (INVITE to BYE, direct media); beside them a probe times 20 calls a second
in microseconds, first calls that the agent takes, then calls whose first agent answers 503: from its 503's
departure to the INVITE at the fallback. Choose half of what the machine carries (`make bench` tells). The
event loop's lag and the garbage collector's pauses are what the gateway itself measured meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from loadtests.awake import awake
from loadtests.failover_probe import FailoverProbe
from loadtests.latency_probe import percentile
from loadtests.load_signalling import Bench, Step
from loadtests.systems import voice_gateway
from tests.e2e.exchange import Exchange

NEVER = 1_000_000
"""Failures in a row after which an endpoint is left alone: every call is to meet the 503."""


def shown(name: str, values: list[float]) -> str:
    cells = " / ".join(f"{percentile(values, share):.2f}" for share in (0.5, 0.99, 1.0))
    return f"| {name} | {len(values)} | {cells} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, default=100, help="calls a second beside the probe")
    parser.add_argument("--seconds", type=int, default=20, help="of each part")
    options = parser.parse_args()
    with (
        awake(),
        tempfile.TemporaryDirectory(prefix="latency-") as directory,
        contextlib.ExitStack() as stack,
    ):
        second = FailoverProbe()
        stack.callback(second.close)

        def add(exchange: Exchange) -> None:
            second.number = exchange.line(second.refusing_uri, second.agent_uri).number

        start = partial(voice_gateway, prepare=add, agents={"failures_to_open": NEVER})
        bench = Bench(Path(directory), stack, start)
        second.gateway = bench.system.sip
        bench.step(50, 5)  # not reported: caches, allocators and the loop warm up
        before = collected(bench)
        plain = bench.step(options.rate, options.seconds)
        time.sleep(1)
        bench.probe = second
        moved = bench.step(options.rate, options.seconds)
        collections, paused = (after - first for after, first in zip(collected(bench), before, strict=True))
        late = [bench.system.metric(f"gateway_event_loop_lag_seconds_{part}") for part in ("sum", "count")]
    print(Step.HEADER, plain.row(), moved.row(), sep="\n")
    print("\n| | calls | p50 / p99 / max ms |\n|---|---:|---:|")
    print(shown("INVITE → 100", plain.latencies.trying))
    print(shown("INVITE → INVITE at the agent", plain.latencies.dispatched))
    print(shown("503 → INVITE at the fallback", second.moved_on))
    print(f"\nthe loop is {late[0] / late[1] * 1000:.2f} ms late on average")
    print(f"{collections:.0f} collections of garbage, {paused / max(collections, 1) * 1000:.2f} ms each")
    return 0


def collected(bench: Bench) -> tuple[float, float]:
    """Collections of garbage so far, and the seconds that they took."""
    metric = bench.system.metric
    return metric("gateway_gc_pause_seconds_count"), metric("gateway_gc_pause_seconds_sum")


if __name__ == "__main__":
    sys.exit(main())

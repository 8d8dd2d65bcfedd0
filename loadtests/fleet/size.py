"""What so many calls a second need, reckoned from what one call costs: `python -m loadtests.fleet.size`.

docs/scale.md has its output; a test compares the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

CALLS_A_SECOND: Final = (10, 1_000, 100_000)


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured (docs/performance.md), and what is assumed, which is the first to argue with.

    Measured: cpu_ms: of a call's signalling, INVITE to BYE, history and traces included. stream_cores,
        relay_cores: of one call over WebSocket, of one relayed call. claim_us, change_us, beat_us: of Redis's
        thread, for a claim of a place, for a change at one process, for a heartbeat.
    Assumed: kept_us: of Redis's thread for the record of a live call, from its answer to its end. record_us:
    of the store's processors for a call's record, record_kib: what it takes there, and
        history_days: how long. talk: seconds of a call. changes: of routes, a second. limited: share of the
        calls at agents with max_calls. busy, redis_busy: how far a core, and a Redis's thread, is used on
        purpose. node_cores, node_ports: of a node; ports are pairs. stream_kbit: both ways of one leg, on
        the wire.
    Money, in dollars: core_hour: of a rented core, its memory included; gib_out: for a GiB that leaves.
    """

    cpu_ms: float = 1.75
    stream_cores: float = 0.0124
    relay_cores: float = 0.0035
    claim_us: float = 130.0
    change_us: float = 100.0
    beat_us: float = 150.0
    kept_us: float = 150.0
    record_us: float = 400.0
    record_kib: float = 1.5

    talk: float = 120.0
    changes: float = 5.0
    limited: float = 1.0
    busy: float = 0.6
    node_cores: int = 8
    node_ports: int = 8191
    redis_busy: float = 0.5
    history_days: float = 30.0
    stream_kbit: float = 174.0
    core_hour: float = 0.04
    gib_out: float = 0.02


@dataclass(frozen=True, slots=True)
class Kind:
    """How agents are reached. cores: of media for a call; ports: pairs; legs: whose audio passes us."""

    name: str
    cores: float
    ports: int
    legs: int


def kinds(costs: Costs) -> tuple[Kind, ...]:
    """The three ways."""
    return (
        Kind("SIP, media=direct", 0.0, 0, 0),
        Kind("SIP, relayed", costs.relay_cores, 2, 2),
        Kind("WebSocket", costs.stream_cores, 1, 2),
    )


@dataclass(frozen=True, slots=True)
class Need:
    """What it takes."""

    calls: float
    cores: float
    nodes: int
    bound_by: str
    gbit: float
    shards: int
    redis_share: float
    records: float
    store_share: float
    history_gib: float
    dollars_hour: float


def need(rate: float, kind: Kind, costs: Costs) -> Need:
    """Of so many calls a second that all go to agents of one kind."""
    calls = rate * costs.talk
    # One node may die and one be upgraded: two at least, and a tenth more than are needed.
    cores = (rate * costs.cpu_ms / 1000 + calls * kind.cores) / costs.busy
    by_cores = math.ceil(cores / costs.node_cores)
    by_ports = math.ceil(calls * kind.ports / costs.node_ports)
    wanted = max(2, by_cores, by_ports)
    nodes = wanted + math.ceil(0.1 * wanted)
    gbit = calls * kind.legs * costs.stream_kbit / 1e6
    claims = rate * 2 * costs.limited
    workers = nodes * costs.node_cores
    redis_us = claims * costs.claim_us + rate * costs.kept_us
    redis_us += workers * (costs.changes * costs.change_us + 0.5 * costs.beat_us)
    store_us = rate * costs.record_us
    out_gib = gbit / 8 * 3600 / 1.074 / 2
    shards = max(1, math.ceil(redis_us / 1e6 / costs.redis_busy))
    dollars = (
        nodes * costs.node_cores * costs.core_hour
        + out_gib * costs.gib_out
        + shards * 3 * costs.core_hour * 2
    )
    return Need(
        calls,
        cores,
        nodes,
        "ports" if by_ports > max(by_cores, 2) else "cores" if by_cores > 2 else "two at least",
        gbit,
        shards,
        redis_us / 1e6,
        rate,
        store_us / 1e6,
        rate * 86_400 * costs.history_days * costs.record_kib / 1024 / 1024,
        dollars,
    )


def table(costs: Costs) -> str:
    """For the page."""
    heads = [
        "calls/s",
        "agents over",
        "calls at a time",
        "cores busy",
        f"nodes of {costs.node_cores} cores",
        "bound by",
        "audio Gbit/s",
        "Redis threads busy",
        "primaries",
        "store busy",
        "history GiB",
        "$ an hour",
    ]
    rows = [f"| {' | '.join(heads)} |", "|" + "---|" * 2 + "---:|" * 3 + "---|" + "---:|" * 6]
    for rate in CALLS_A_SECOND:
        for kind in kinds(costs):
            found = need(rate, kind, costs)
            cells = [
                f"{rate:,}",
                kind.name,
                f"{found.calls:,.0f}",
                f"{found.cores * costs.busy:,.1f}",
                f"{found.nodes:,}",
                found.bound_by,
                f"{found.gbit:,.2f}",
                f"{found.redis_share:.2f}",
                f"{found.shards:,}",
                f"{found.store_share:.2f}",
                f"{found.history_gib:,.0f}",
                f"{found.dollars_hour:,.2f}",
            ]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table(Costs()))

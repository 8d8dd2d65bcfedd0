"""Thousands of gateways on virtual time: `python -m loadtests.fleet --nodes 2000`; what Redis needs:
`--measure`."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from loadtests.fleet.fleet import Outcome, Scale, at, simulate
from loadtests.fleet.measure import measured


def table(scale: Scale, outcome: Outcome) -> str:
    """As the page has it."""
    commands = sum(outcome.commands.values())
    kinds = ", ".join(f"{name} {count:,.0f}" for name, count in sorted(outcome.commands.items()))
    calls = sum(outcome.calls.values())
    rows = [
        ("gateways, agents, places of each", f"{scale.nodes:,}, {scale.agents}, {scale.places}"),
        (
            "calls, of those with an agent",
            f"{calls:,}, {outcome.calls['agent'] + outcome.calls['fallback']:,}",
        ),
        (
            "a change routable at a gateway: p50, p99, last",
            ", ".join(f"{1000 * at(outcome.propagation, share):,.0f} ms" for share in (0.5, 0.99, 1.0)),
        ),
        ("… where Redis was cut off, after the cut: p99", f"{at(outcome.late, 0.99):.1f} s"),
        ("an agent's calls beyond its places, Redis there", f"{outcome.oversold_in_peace:.1%}"),
        (
            "… while a third of the gateways was cut off (at most)",
            f"{outcome.oversold_in_cut:.1%} ({outcome.bound:.1%})",
        ),
        ("places of dead gateways are free after", f"{outcome.released:.1f} s"),
        ("commands of Redis a second", f"{commands:,.0f}: {kinds}"),
        ("its thread, at the worst second", f"{outcome.busy:.1%}"),
        ("the longest that a command waited there", f"{1000 * outcome.longest_wait:.1f} ms"),
        ("gateways with old routes at the end", str(outcome.stale)),
    ]
    return "\n".join(["| what | simulated |", "|---|---|", *(f"| {what} | {told} |" for what, told in rows)])


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--places", type=int, default=200, help="calls that each agent takes at a time")
    parser.add_argument("--talk", type=float, default=20.0, help="seconds of a call, mean")
    parser.add_argument("--changes", type=float, default=1.0, help="of the routes, a second")
    parser.add_argument("--deaths", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--measure", action="store_true", help="what a real Redis needs for each command")
    options = parser.parse_args()
    if options.measure:
        with tempfile.TemporaryDirectory() as directory:
            for command, microseconds in asyncio.run(measured(Path(directory))).items():
                print(f"{command:10s} {microseconds:6.1f} µs")
        return
    scale = Scale(
        nodes=options.nodes,
        agents=options.agents,
        places=options.places,
        talk=options.talk,
        changes=options.changes,
        deaths=options.deaths,
        seconds=options.seconds,
        seed=options.seed,
    )
    began = time.process_time()
    print(table(scale, simulate(scale)))
    print(f"\n{time.process_time() - began:.0f} s of CPU")


if __name__ == "__main__":
    main()

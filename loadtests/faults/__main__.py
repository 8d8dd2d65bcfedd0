"""Calls run while a seeded schedule kills, freezes, unplugs and slows whom it likes, and sets clocks wrong.

.venv/bin/python -m loadtests.faults --seed 7 --seconds 60 --faults 20

Needs root, network namespaces and what the tests need. Afterwards: every call offered has exactly one
outcome; nothing is left; every call that failed is explained by the schedule. Exit status 1 if not, 77 where
namespaces are not permitted.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.faults.calls import Account, Placed, Recorded, account, placed, recorded
from loadtests.faults.hosts import INSIDE, Lan, enter, obstacle
from loadtests.faults.schedule import KINDS, Fault, Kind, schedule
from loadtests.faults.world import AGENTS, CARRIERS, CROWDS, EDGES, NODES, World

NOT_PERMITTED = 77

USUAL: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind != "skew")
"""Clocks are set wrong when asked for alone: under libfaketime event loops are late by seconds even without
any fault, and calls fail for that."""

SETTLE_SECONDS = 60.0
"""For calls that lost an end to be given up, and for transactions to reach the end of their timers (32 s)."""

OF_CALLS = ("gateway_calls_active", "gateway_agent_calls", "gateway_media_ports")
"""Samples that are 0 at a node without calls."""

OF_TIMERS = (
    'gateway_sip_transactions{kind="invite_client"}',
    'gateway_sip_transactions{kind="invite_server"}',
)
"""And these half a minute later. Probes of agents have transactions, too, of the other kinds."""


@dataclass(frozen=True, slots=True)
class Run:
    """seed, seconds, faults: of the schedule. rate: calls a second of each carrier; talk: seconds of each
    call."""

    seed: int
    seconds: float
    faults: int
    rate: int
    talk: float
    kinds: tuple[Kind, ...]
    brief: bool


def play(world: World, faults: Sequence[Fault], start: float) -> None:
    """Do everything at its time. start: monotonic seconds."""
    begins = {
        "kill": lambda host: host.kill(),
        "freeze": lambda host: host.freeze(),
        "unplug": lambda host: host.unplug(),
        "slow": lambda host: host.slow(),
    }
    ends = {
        "kill": lambda host: host.start(),
        "freeze": lambda host: host.thaw(),
        "unplug": lambda host: host.plug(),
        "slow": lambda host: host.hasten(),
    }
    moments: list[tuple[float, str, Callable[[], None]]] = []
    for fault in faults:
        host = world.hosts[fault.host]
        if fault.kind == "skew":
            moments.append((fault.at, f"{fault}", lambda fault=fault: world.skew(fault.host, fault.skew)))
            moments.append((fault.until, "", lambda fault=fault: world.skew(fault.host, 0)))
        else:
            moments.append((fault.at, f"{fault}", lambda act=begins[fault.kind], host=host: act(host)))
            moments.append((fault.until, "", lambda act=ends[fault.kind], host=host: act(host)))
    for at, told, act in sorted(moments, key=lambda moment: moment[0]):
        time.sleep(max(0.0, start + at - time.monotonic()))
        if told:
            print(told, flush=True)
        act()


def left_over(world: World, samples: Sequence[str]) -> list[str]:
    """What should not be there any more when all calls are over; samples: that must be 0."""
    found: list[str] = []
    for node in NODES:
        for sample in samples:
            value = world.metric(node, sample)
            if value != 0:
                found.append(f"{node}: {sample} {value:g}")
    found += [f"Redis: {told}" for told in world.kept_in_redis()]
    return found


def run(arguments: Run, directory: Path) -> int:
    """Everything, and what came of it on standard output; the exit status."""
    lan = Lan()
    world = World(lan, directory, skews="skew" in arguments.kinds)
    kinds = tuple(each for each in arguments.kinds if each != "skew" or world.faketime is not None)
    faults = schedule(arguments.seed, CROWDS, arguments.seconds, arguments.faults, kinds)
    print(f"seed {arguments.seed}: {len(faults)} faults in {arguments.seconds:g} s", flush=True)
    if "skew" in arguments.kinds and "skew" not in kinds:
        print("no clock is skewed: libfaketime (Debian's package faketime) is not installed")
    if not lan.has_netem:
        print("slow hosts have their programs stutter: this kernel has no netem")
    began = time.monotonic()
    world.start()
    print(f"{len(world.hosts)} hosts are up after {time.monotonic() - began:.1f} s", flush=True)
    calls = round(arguments.rate * arguments.seconds)
    wall, start = time.time(), time.monotonic()
    callers = [
        world.carrier(name, rate=arguments.rate, calls=calls, talk=arguments.talk) for name in CARRIERS
    ]
    play(world, faults, start)
    world.until(lambda: not any(each.running for each in callers), "the carriers are done", 120)
    took = time.monotonic() - start
    world.until(world.all_ready, "all nodes are ready again")
    settled = _settle(world, OF_CALLS if arguments.brief else OF_CALLS + OF_TIMERS)
    offered = [
        call
        for name in CARRIERS
        for call in placed(world.messages(name).read_text(errors="replace").splitlines(), name, wall)
    ]
    records = [record for name in NODES for record in recorded(_log(world, name), name)]
    balance = account(offered, records, faults, (*NODES, *EDGES, *AGENTS))
    return report(balance, offered, records, settled, world, took)


def _log(world: World, node: str) -> list[str]:
    return (world.hosts[node].directory / "gateway.log").read_text(errors="replace").splitlines()


def _settle(world: World, samples: Sequence[str]) -> list[str]:
    """Wait until nothing is left; what is left after `SETTLE_SECONDS` all the same."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (found := left_over(world, samples)) and time.monotonic() < deadline:
        time.sleep(1)
    return found


def report(
    balance: Account,
    offered: Sequence[Placed],
    records: Sequence[Recorded],
    settled: Sequence[str],
    world: World,
    took: float,
) -> int:
    """Print it; 0 if all is as it should be."""
    for node in NODES:
        print(f"{node}: late by more than a second {world.stalls(node):.0f} times")
    print(f"{balance.offered} calls offered in {took:.0f} s, and their outcomes:")
    for outcome, count in balance.outcomes.most_common():
        print(f"  {count:5d}  {outcome}")
    print(f"{len(records)} records; {balance.unrecorded} calls in none, {balance.twice} in several:")
    for outcome, count in balance.records.most_common():
        print(f"  {count:5d}  {outcome}")
    known = {row.get("sip_call_id") or row.get("call_id") or row.get("id") for row in world.history()}
    print(f"{len(known)} in the API's history")
    for cause, count in balance.explained.most_common():
        print(f"  {count:5d}  {cause}")
    for each in settled:
        print(f"left: {each}")
    for each in balance.unexplained:
        print(f"not explained: {each}")
    good = not settled and not balance.unexplained and balance.offered == sum(balance.outcomes.values())
    print("every call has one outcome, nothing is left" if good else "NOT as it should be")
    return 0 if good else 1


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long calls are placed")
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--rate", type=int, default=4, help="calls a second of each of two carriers")
    parser.add_argument("--talk", type=float, default=2.0, help="seconds of each call")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(USUAL))
    parser.add_argument("--brief", action="store_true", help="do not wait for SIP's last timers (32 s)")
    parser.add_argument("--keep", type=Path, help="directory for logs; a temporary one by default")
    options = parser.parse_args()
    if os.environ.get(INSIDE) != "1":
        reason = obstacle()
        if reason is not None:
            print(f"skipped: {reason}")
            return NOT_PERMITTED
        return enter(["loadtests.faults", *sys.argv[1:]])
    arguments = Run(
        options.seed,
        options.seconds,
        options.faults,
        options.rate,
        options.talk,
        tuple(options.kinds),
        options.brief,
    )
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
        return run(arguments, options.keep.resolve())
    with tempfile.TemporaryDirectory(prefix="vg-faults-") as directory:
        return run(arguments, Path(directory))


if __name__ == "__main__":
    raise SystemExit(main())

"""Calls run while a seeded schedule kills, freezes, unplugs, restarts and slows whom it likes, cuts one
region off from the other and sets clocks wrong; and while routes are changed through the API.

.venv/bin/python -m loadtests.faults --seed 7 --seconds 60 --faults 20

Needs root, network namespaces and what the tests need. Afterwards: every call offered has exactly one
outcome; nothing is left; every call that failed is explained by the schedule; the API says every change that
it has taken, and every gateway serves by what the API says. Exit status 1 if not, 77 where namespaces are not
permitted.
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

from loadtests.faults.calls import Account, account, placed
from loadtests.faults.changes import Changes, lost, served_otherwise
from loadtests.faults.hosts import INSIDE, Lan, enter, obstacle
from loadtests.faults.schedule import KINDS, Fault, Kind, schedule
from loadtests.faults.world import AGENTS, CARRIERS, CROWDS, EDGES, NODES, World

NOT_PERMITTED = 77

SETTLE_SECONDS = 150.0
"""For calls that lost an end: a goodbye that a cut swallowed is missed at the session's next refresh (45 s),
and who is asked then is given up when a transaction ends (32 s), each leg for itself."""

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
    moments: list[tuple[float, str, Callable[[], None]]] = []
    for fault in faults:
        begin, end = _both_ends(world, fault)
        moments += [(fault.at, f"{fault}", begin), (fault.until, "", end)]
    for at, told, act in sorted(moments, key=lambda moment: moment[0]):
        time.sleep(max(0.0, start + at - time.monotonic()))
        if told:
            print(told, flush=True)
        act()


def _both_ends(world: World, fault: Fault) -> tuple[Callable[[], None], Callable[[], None]]:
    """What makes it happen, and what ends it."""
    if fault.kind == "cut":
        return world.lan.cut, world.lan.join
    host = world.hosts[fault.host]
    match fault.kind:
        case "kill":
            return host.kill, host.start
        case "freeze":
            return host.freeze, host.thaw
        case "unplug":
            return host.unplug, host.plug
        case "restart":
            return host.restart, host.restarted
        case "slow":
            return host.slow, host.hasten
        case "skew":
            return lambda: world.skew(host.name, fault.skew), lambda: world.skew(host.name, 0)


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
    world = World(lan, directory)
    faults = schedule(arguments.seed, CROWDS, arguments.seconds, arguments.faults, arguments.kinds)
    print(f"seed {arguments.seed}: {len(faults)} faults in {arguments.seconds:g} s", flush=True)
    print(f"slow hosts: by {lan.slowness}", flush=True)
    began = time.monotonic()
    world.start()
    print(f"{len(world.hosts)} hosts are up after {time.monotonic() - began:.1f} s", flush=True)
    calls = round(arguments.rate * arguments.seconds)
    wall, start = time.time(), time.monotonic()
    callers = [
        world.carrier(
            name, world.edge_of(name), "caller", rate=arguments.rate, calls=calls, talk=arguments.talk
        )
        for name in CARRIERS
    ]
    changes = world.changes(arguments.seed)
    changes.start()
    play(world, faults, start)
    world.until(lambda: not any(each.running for each in callers), "the carriers are done", 120)
    took = time.monotonic() - start
    world.until(world.all_ready, "all nodes are ready again")
    astray = _routes_astray(world, changes)
    settled = _settle(world, OF_CALLS if arguments.brief else OF_CALLS + OF_TIMERS)
    offered = [
        call
        for name in CARRIERS
        for call in placed(
            world.messages(name, "caller").read_text(errors="replace").splitlines(), name, wall
        )
    ]
    records = [record for name in NODES for record in world.records(name)]
    on_the_way = {name: world.at(name) for name in (*NODES, *EDGES, *AGENTS, *CARRIERS)}
    balance = account(offered, records, faults, on_the_way)
    wrong = [f"left: {each}" for each in settled] + [f"not explained: {each}" for each in balance.unexplained]
    wrong += [f"{name}: {each} did not end" for name, host in world.hosts.items() for each in host.unfinished]
    wrong += astray or _asked(world, changes)
    return report(balance, wrong, changes, world, took)


def _routes_astray(world: World, changes: Changes) -> list[str]:
    """What is wrong with the routes as the API says them, when no fault lasts any more."""
    if not changes.stop(SETTLE_SECONDS):
        return ["a change was not taken when everything was well again"]
    found = [f"refused: {each}" for each in changes.refused]
    return found + [f"lost: {each}" for each in lost(changes.routes, world.shown())]


def _asked(world: World, changes: Changes) -> list[str]:
    """What is wrong with the routes as gateways serve by them: each is called by every number."""
    world.until(
        lambda: all(world.metric(node, "routing_revisions_behind") == 0 for node in NODES),
        "all gateways have all changes",
    )
    return [
        wrong
        for node in NODES
        for wrong in served_otherwise(node, world.ask(node), world.number_ids, changes.routes)
    ]


def _settle(world: World, samples: Sequence[str]) -> list[str]:
    """Wait until nothing is left; what is left after `SETTLE_SECONDS` all the same."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (found := left_over(world, samples)) and time.monotonic() < deadline:
        time.sleep(1)
    return found


def report(balance: Account, wrong: Sequence[str], changes: Changes, world: World, took: float) -> int:
    """Print it; 0 if nothing is wrong."""
    for node in NODES:
        print(f"{node}: late by more than a second {world.stalls(node):.0f} times")
    print(f"{balance.offered} calls offered in {took:.0f} s, and their outcomes:")
    for outcome, count in balance.outcomes.most_common():
        print(f"  {count:5d}  {outcome}")
    print(
        f"{balance.records.total()} records; {balance.unrecorded} calls in none, {balance.twice} in several:"
    )
    for outcome, count in balance.records.most_common():
        print(f"  {count:5d}  {outcome}")
    known = {row.get("sip_call_id") or row.get("call_id") or row.get("id") for row in world.history()}
    print(f"{len(known)} in the API's history")
    for cause, count in balance.explained.most_common():
        print(f"  {count:5d}  {cause}")
    if balance.local:
        told = ", ".join(f"{count} {outcome}" for outcome, count in balance.local.most_common())
        print(f"{balance.local.total()} were placed in the midst of a cut between the regions: {told}")
    print(f"{changes.taken} changes of the routes, asked for again {changes.repeated} times")
    for each in wrong:
        print(each)
    good = not wrong and balance.offered == balance.outcomes.total()
    print(
        "every call has one outcome, nothing is left, all gateways serve what the API says"
        if good
        else "NOT as it should be"
    )
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
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
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

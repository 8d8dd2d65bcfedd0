"""The same calls through the gateway and through Kamailio, one after the other, on the same machine.

    python -m loadtests.bench_peers [--rates 100,200,400] [--seconds 15] [--rounds 2]

SIPp places calls over UDP (INVITE, 180, 200, ACK, BYE; the audio passes both by) to 1,000 numbers that are
kept in Redis; four SIPp agents take them, and a probe times 20 calls a second in microseconds. Kamailio (5.6
or later, with `ndb_redis`; `loadtests/peers/kamailio.cfg`) relays statefully after a lookup in Redis; the
gateway does what it always does: a B2BUA with its plan, metrics, records and logs, as one process, as two
workers, and compiled if `make compiled` has been there. Rounds alternate between the systems, so that what
else the machine does meets all. A system is not asked for more after a rate at which it lost one call in ten.

Writes `docs/data/peers.json` and the plot `docs/data/peers.svg`, and prints the table for
`docs/performance.md`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

from loadtests.awake import awake
from loadtests.latency_probe import percentile
from loadtests.load_signalling import Starter, Step, bench
from loadtests.plot import Line, plot
from loadtests.systems import kamailio, voice_gateway

ROOT: Final = Path(__file__).parent.parent
WORKERS_PORT: Final = 25_100
DATA: Final = ROOT / "docs" / "data"
COMPILED: Final = ROOT / ".venv-compiled" / "bin" / "voice-gateway"
SYSTEMS: Final[dict[str, Starter]] = {
    "voice-gateway": voice_gateway,
    **({"voice-gateway, compiled": partial(voice_gateway, program=COMPILED)} if COMPILED.exists() else {}),
    "voice-gateway, 2 workers": partial(voice_gateway, workers={"count": 2, "port": WORKERS_PORT}),
    "Kamailio": partial(kamailio, children=1),
    "Kamailio, 2 workers": partial(kamailio, children=2),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One system at one rate: means over the rounds, milliseconds; lost: share of calls that failed."""

    system: str
    rate: int
    placed: float
    lost: float
    cpu: float
    memory_mib: float
    trying_p50: float
    trying_p99: float
    agent_p50: float
    agent_p99: float

    HEADER = (
        "| system | asked/s | calls/s | failed | CPU ms a call | memory MiB | INVITE→100 p50 / p99 ms "
        "| INVITE→agent p50 / p99 ms |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    )

    def __str__(self) -> str:
        return (
            f"| {self.system} | {self.rate} | {self.placed:.0f} | {self.lost:.2%} | {self.cpu:.2f} "
            f"| {self.memory_mib:.0f} | {self.trying_p50:.2f} / {self.trying_p99:.2f} "
            f"| {self.agent_p50:.2f} / {self.agent_p99:.2f} |"
        )


def summed_up(system: str, rate: int, steps: Sequence[Step]) -> Row:
    """What the rounds of one system at one rate say together."""

    def mean(values: Sequence[float]) -> float:
        return statistics.fmean(values)

    def pooled(name: str, share: float) -> float:
        return percentile([each for step in steps for each in getattr(step.latencies, name)], share)

    calls = sum(step.outcome.succeeded + step.outcome.failed for step in steps)
    return Row(
        system,
        rate,
        mean([step.outcome.rate for step in steps]),
        sum(step.outcome.failed for step in steps) / max(calls, 1),
        mean([step.cpu_ms for step in steps]),
        max(step.resident_mib for step in steps),
        pooled("trying", 0.5),
        pooled("trying", 0.99),
        pooled("dispatched", 0.5),
        pooled("dispatched", 0.99),
    )


def measure(rates: Sequence[int], seconds: int, rounds: int) -> list[Row]:
    """Every system at every rate, the rounds of all systems one after the other."""
    steps: dict[tuple[str, int], list[Step]] = {}
    beyond: set[str] = set()
    for number in range(rounds):
        for system, start in SYSTEMS.items():
            with bench(start) as running:
                running.step(50, 5)  # not reported: caches, allocators and the loop warm up
                for rate in rates:
                    if (system, rate) not in steps and system in beyond:
                        break
                    step = running.step(rate, seconds)
                    steps.setdefault((system, rate), []).append(step)
                    print(f"round {number + 1}, {system}: {step.row()}", file=sys.stderr, flush=True)
                    if step.outcome.failed * 10 > step.outcome.succeeded:
                        beyond.add(system)
                        break
                    time.sleep(1)
    return [summed_up(system, rate, found) for (system, rate), found in steps.items()]


def machine() -> dict[str, str]:
    """On what, and of what, this was measured."""

    def said(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    cpu = next(
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    )
    return {
        "cpu": cpu.partition(": ")[2],
        "cores": said("nproc"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "gateway": said(str(Path(sys.executable).with_name("voice-gateway")), "--version"),
        "kamailio": said("kamailio", "-v").partition("\n")[0],
        "sipp": said("sipp", "-v").partition("\n")[0],
        "commit": said("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
        "load": Path("/proc/loadavg").read_text().split()[0],
        "day": time.strftime("%Y-%m-%d"),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rates", default="100,200,400,600", help="calls a second, comma-separated")
    parser.add_argument("--seconds", type=int, default=15, help="how long each rate is held")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    about = machine()
    with awake():
        rows = measure([int(rate) for rate in options.rates.split(",")], options.seconds, options.rounds)
    DATA.mkdir(exist_ok=True)
    (DATA / "peers.json").write_text(
        json.dumps({"machine": about, "rows": [*map(asdict, rows)]}, indent=2) + "\n"
    )
    lines = [
        Line(system, [(row.rate, row.cpu) for row in rows if row.system == system]) for system in SYSTEMS
    ]
    (DATA / "peers.svg").write_text(plot("CPU a call", "calls asked for a second", "ms", lines))
    print("; ".join(f"{name} {value}" for name, value in about.items()))
    print(Row.HEADER)
    print(*sorted(rows, key=lambda row: (row.rate, row.system)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

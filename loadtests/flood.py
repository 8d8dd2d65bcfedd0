"""What callers of the carriers' notice of a flood.

    .venv/bin/python loadtests/flood.py                        # the three floods below, 20 s each
    .venv/bin/python loadtests/flood.py one --seconds 60 --capacity 400 --calls 50

Set-up, all on loopback of one machine, bounded in rate and time: one gateway (uvloop) with its default
limits, 1,000 numbers, four SIPp agents with direct media, SIPp as a carrier placing `--calls` calls a second,
and a probe of our own that times 20 calls a second in microseconds. A process of its own (`flood_source.py`)
then sends ten times `--capacity` requests a second:

    one      from one address that nobody admitted
    many     from a thousand addresses that nobody admitted
    carrier  from the address of another carrier, which has run mad: it places calls and acknowledges nothing;
             its entry allows 50 calls a second

Exit code 1 when a bar is missed: 99 % of the carrier's calls succeed, p99 of INVITE→200 below 500 ms, memory
within 8 MiB of where it was (strangers), calls as before from 5 s after the flood's end. The third flood has
the same bars except memory: what an admitted carrier sends is remembered for 32 s.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from loadtests.latency_probe import Latencies, percentile
from loadtests.load_signalling import Bench
from tests.e2e import carriers

SOURCE = Path(__file__).with_name("flood_source.py")

MAD_CALLS_A_SECOND = 50
"""What the contract with the carrier that runs mad allows: its entry says so."""

TRUNKS = f"""\
[[trunk]]
name = "honest"
sources = ["127.0.0.1"]
development = true

[[trunk]]
name = "mad"
sources = ["{carriers.TELNYX_HOST}"]
development = true
calls_per_second = {MAD_CALLS_A_SECOND}
"""

BAR_SUCCESS = 0.99
BAR_SETUP_MS = 500.0
BAR_GROWTH_KIB = 8192
RECOVERY_SECONDS = 5
BEFORE_SECONDS = 40  # a transaction lives for 32 s: until then memory grows with every call
AFTER_SECONDS = 10

FLOODS = {
    "one": ("127.0.66.1", 1),
    "many": ("127.1.0.1", 1000),
    "carrier": (carriers.TELNYX_HOST, 1),
}


@dataclass(frozen=True, slots=True)
class Window:
    """What the carrier's calls were like for a while."""

    name: str
    placed: int
    failed: int
    latencies: Latencies
    cpu_share: float
    resident_kib: float

    @property
    def success(self) -> float:
        placed = self.placed + len(self.latencies.answered) + self.latencies.lost
        return 1 - (self.failed + self.latencies.lost) / max(1, placed)

    HEADER = (
        "| | flood, requests/s | calls | succeeded | INVITE→200 ms p50 / p99 / max | CPU % | RSS MiB |\n"
        "|---|---:|---:|---:|---:|---:|---:|"
    )

    def row(self, rate: float) -> str:
        times = self.latencies.answered
        shown = " / ".join(f"{percentile(times, share):.1f}" for share in (0.5, 0.99, 1.0))
        calls = self.placed + len(times) + self.latencies.lost
        return (
            f"| {self.name} | {rate:.0f} | {calls} | {self.success:.2%} | {shown} | {self.cpu_share:.0%}"
            f" | {self.resident_kib / 1024:.1f} |"
        )


class Field:
    """The gateway, its carrier, and whoever attacks it."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack, calls: int) -> None:
        trunks = directory / "trunks.toml"
        trunks.write_text(TRUNKS)
        self.bench = Bench(
            directory,
            stack,
            admission={"overload_delay": 0.4, "carriers_files": [str(trunks)]},
            drain={"timeout": 2.0},
        )
        self._calls = calls
        self.system = self.bench.system

    def window(self, name: str, seconds: int) -> Window:
        """Place calls for that long."""
        cpu, started = self.system.cpu_ms, time.monotonic()
        self.bench.probe.start()
        outcome = self.bench.place(self._calls, self._calls * seconds).wait(seconds + 30)
        latencies = self.bench.probe.stop()
        elapsed = time.monotonic() - started
        return Window(
            name,
            outcome.succeeded + outcome.failed,
            outcome.failed,
            latencies,
            (self.system.cpu_ms - cpu) / 1000 / elapsed,
            self.system.resident_kib,
        )

    def flood(self, kind: str, rate: int, seconds: int) -> subprocess.Popen[str]:
        """Begin one."""
        first, sources = FLOODS[kind]
        host, port = self.system.sip
        command = [sys.executable, str(SOURCE), host, str(port), "--from", first, "--sources", str(sources)]
        command += ["--rate", str(rate), "--seconds", str(seconds), "--number", "+12015550100"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def run(kind: str, *, capacity: int, calls: int, seconds: int) -> list[str]:
    """One flood; the bars that it missed."""
    with tempfile.TemporaryDirectory(prefix="flood-") as directory, contextlib.ExitStack() as stack:
        field = Field(Path(directory), stack, calls)
        field.window("warm-up", 5)
        before = field.window("before", BEFORE_SECONDS)
        attacker = field.flood(kind, 10 * capacity, seconds)
        during = field.window("during", seconds)
        told, _ = attacker.communicate(timeout=seconds + 30)
        sent = int(told.split()[0]) / seconds
        time.sleep(RECOVERY_SECONDS)
        after = field.window(f"from {RECOVERY_SECONDS} s after", AFTER_SECONDS)
        print(f"\n{kind}: {told.strip()}\n\n{Window.HEADER}")
        for window, rate in ((before, 0.0), (during, sent), (after, 0.0)):
            print(window.row(rate), flush=True)
        shed = field.system.metric("gateway_calls_refused_total")
        lost = field.system.metric("gateway_sip_dropped_total", reason="receive_buffer_full")
        quiet = field.system.metric("gateway_sip_dropped_total") - lost
        print(f"\nrefused at the door: {shed:.0f}, dropped: {quiet:.0f}, lost in the kernel: {lost:.0f}")
    return missed(kind, before, during, after)


def missed(kind: str, before: Window, during: Window, after: Window) -> list[str]:
    """Which bars do not hold."""
    found = []
    for window in (during, after):
        if window.success < BAR_SUCCESS:
            found.append(f"{kind}, {window.name}: {window.success:.2%} succeeded")
        if not percentile(window.latencies.answered, 0.99) < BAR_SETUP_MS:
            found.append(f"{kind}, {window.name}: p99 {percentile(window.latencies.answered, 0.99):.0f} ms")
    growth = max(during.resident_kib, after.resident_kib) - before.resident_kib
    if kind != "carrier" and growth > BAR_GROWTH_KIB:
        found.append(f"{kind}: grew {growth:.0f} KiB")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Floods against one gateway process, with calls beside them."
    )
    parser.add_argument("kinds", nargs="*", default=list(FLOODS), help=f"of {', '.join(FLOODS)}")
    parser.add_argument("--capacity", type=int, default=400, help="calls a second that this machine carries")
    parser.add_argument(
        "--calls", type=int, default=30, help="calls a second of the carrier beside the flood"
    )
    parser.add_argument("--seconds", type=int, default=20, help="how long each flood lasts")
    arguments = parser.parse_args()
    found = []
    for kind in arguments.kinds:
        found += run(
            kind, capacity=arguments.capacity, calls=arguments.calls, seconds=min(arguments.seconds, 120)
        )
    print("\nbars: " + ("; ".join(found) or "all cleared"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

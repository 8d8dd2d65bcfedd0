"""How many calls a second one gateway process answers, and what a call costs.

    .venv/bin/python loadtests/load_signalling.py                     # rising rates, 20 s each
    .venv/bin/python loadtests/load_signalling.py --rates 400 --seconds 60
    .venv/bin/python loadtests/load_signalling.py --memory            # 100,000 calls, watching memory

Set-up, all on loopback of one machine and all bounded in count and time: one gateway (uvloop) with
1,000 numbers in the replica, SIPp as a Twilio-shaped trunk, four SIPp agents with direct media (the
SDP passes through, RTP is not part of this measurement), and a probe of our own that times 20 calls a
second in microseconds, since SIPp's clock moves in steps of 4 ms. A call is INVITE to BYE on both legs:
14 messages. CPU is the gateway's own user and system time from /proc; the embedded Redis is not in it.

Exit code 1 when a bar is missed: no failed call, retransmissions < 1 % of the calls' messages, CPU a
call ≤ 1.5 ms and p99 of INVITE→100 < 5 ms at every rate up to 400 calls/s; with --memory no growth from the
first quarter of the calls to the last.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loadtests import sipp_load
from loadtests.latency_probe import Latencies, LatencyProbe, percentile
from loadtests.systems import Rows, System, voice_gateway

BAR_RATE = 400  # calls a second up to which the bars hold
BAR_CPU_MS = 1.5  # of the gateway, a call
BAR_RETRANSMISSIONS = 0.01  # of the messages
BAR_TRYING_MS = 5.0  # p99, INVITE → 100
BAR_GROWTH_KIB = 4096  # over three quarters of --memory's calls: 0.06 KiB a call, below any leaked object
MESSAGES_A_CALL = 14
AGENTS = 4
NUMBERS = 1000
TALK_MS = 500
REPEATED = "gateway_sip_retransmissions_total"


@dataclass(frozen=True, slots=True)
class Step:
    """One rate, held for a while."""

    asked: int
    outcome: sipp_load.Outcome
    repeated: int
    cpu_ms: float
    cpu_share: float
    resident_mib: float
    latencies: Latencies

    @property
    def retransmitted(self) -> float:
        """Share of all messages that their sender — caller, gateway or agent — had to send again."""
        calls = max(1, self.outcome.succeeded + self.outcome.failed)
        return self.repeated / (calls * MESSAGES_A_CALL)

    @property
    def missed(self) -> list[str]:
        """The bars that this step did not clear."""
        found = []
        if self.outcome.failed or self.latencies.lost:
            found.append(f"{self.outcome.failed} calls failed, {self.latencies.lost} of the probe's")
        if self.retransmitted >= BAR_RETRANSMISSIONS:
            found.append(f"{self.retransmitted:.1%} retransmitted")
        if self.cpu_ms > BAR_CPU_MS:
            found.append(f"{self.cpu_ms:.2f} ms CPU a call")
        if not percentile(self.latencies.trying, 0.99) < BAR_TRYING_MS:
            found.append(f"INVITE→100 p99 {percentile(self.latencies.trying, 0.99):.1f} ms")
        return found

    HEADER = (
        "| asked/s | calls/s | calls | failed | retrans. | CPU ms/call | CPU % | RSS MiB "
        "| INVITE→100 ms p50 / p99 / max | INVITE→agent p50 / p99 | INVITE→200 p50 / p99 / max |\n"
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    )

    def row(self) -> str:
        """A line of the markdown table."""
        outcome, times = self.outcome, self.latencies
        trying, sent, answered = (
            [percentile(values, share) for share in (0.5, 0.99, 1.0)]
            for values in (times.trying, times.dispatched, times.answered)
        )
        cells = [
            f"{self.asked}",
            f"{outcome.rate:.0f}",
            f"{outcome.succeeded + outcome.failed}",
            f"{outcome.failed + times.lost}",
            f"{self.retransmitted:.2%}",
            f"{self.cpu_ms:.2f}",
            f"{self.cpu_share:.0%}",
            f"{self.resident_mib:.1f}",
            " / ".join(f"{value:.2f}" for value in trying),
            " / ".join(f"{value:.2f}" for value in sent[:2]),
            " / ".join(f"{value:.2f}" for value in answered),
        ]
        return "| " + " | ".join(cells) + " |"


Starter = Callable[[Path, contextlib.ExitStack, Rows], System]
"""Starts what is to be measured, with these numbers and agents."""


class Bench:
    """A system under load, its agents, the CSV of its numbers and the probe."""

    def __init__(
        self,
        directory: Path,
        stack: contextlib.ExitStack,
        start: Starter | None = None,
        **sections: dict[str, object],
    ) -> None:
        start = start or partial(voice_gateway, **sections)
        self.directory = directory
        self.agents = [sipp_load.agent(directory) for _ in range(AGENTS)]
        for agent in self.agents:
            stack.callback(agent.stop)
        self.probe = LatencyProbe()
        stack.callback(self.probe.close)
        uris = [agent.agent_uri for agent in self.agents]
        numbers = [f"+1{201 + i // 100}55501{i % 100:02d}" for i in range(NUMBERS)]
        rows = [(number, uris[i % AGENTS]) for i, number in enumerate(numbers)]
        self.probe.number = "+14155550198"
        self.system = start(directory, stack, [*rows, (self.probe.number, self.probe.agent_uri)])
        self.probe.gateway = self.system.sip
        self.numbers = directory / "numbers.csv"
        self.numbers.write_text("\n".join(["SEQUENTIAL", *(f"{number};" for number in numbers), ""]))

    def place(self, rate: int, calls: int) -> sipp_load.SippLoad:
        """Start that many calls."""
        return sipp_load.caller(
            self.directory, self.system.sip, self.numbers, rate=rate, calls=calls, talk_ms=TALK_MS
        )

    def _repeated(self) -> float:
        """What the agents and the system have sent again so far."""
        return self.system.metric(REPEATED, direction="out") + sum(
            agent.counted().retransmissions for agent in self.agents
        )

    def step(self, rate: int, seconds: int) -> Step:
        """Hold one rate for a while, the probe beside it."""
        repeated = self._repeated()
        cpu, started = self.system.cpu_ms, time.monotonic()
        self.probe.start()
        outcome = self.place(rate, rate * seconds).wait(seconds + 30)
        latencies = self.probe.stop()
        used, elapsed = self.system.cpu_ms - cpu, time.monotonic() - started
        calls = outcome.succeeded + outcome.failed + len(latencies.answered)
        return Step(
            asked=rate,
            outcome=outcome,
            repeated=int(outcome.retransmissions + self._repeated() - repeated),
            cpu_ms=used / calls,
            cpu_share=used / 1000 / elapsed,
            resident_mib=self.system.resident_kib / 1024,
            latencies=latencies,
        )


@contextlib.contextmanager
def bench(start: Starter = voice_gateway) -> Iterator[Bench]:
    """Everything started; everything stopped at the end, in the reverse order."""
    with tempfile.TemporaryDirectory(prefix="load-") as directory, contextlib.ExitStack() as stack:
        yield Bench(Path(directory), stack, start)


def rising(rates: list[int], seconds: int) -> int:
    """Each rate in turn; stops early at a rate that loses one call in ten."""
    missed: list[str] = []
    with bench() as running:
        running.step(50, 5)  # caches, allocator and the loop warm up; not reported
        print(Step.HEADER)
        for rate in rates:
            step = running.step(rate, seconds)
            print(step.row(), flush=True)
            if rate <= BAR_RATE:
                missed += [f"at {rate} calls/s: {what}" for what in step.missed]
            if step.outcome.failed * 10 > step.outcome.succeeded:
                break
            time.sleep(2)
    print("\nbars: " + ("; ".join(missed) or "all cleared"))
    return 1 if missed else 0


def memory(calls: int, rate: int) -> int:
    """Resident memory each quarter, after the transactions of that quarter are over."""
    growths: list[float] = []
    failed = 0
    with bench() as running:
        running.step(rate, 5)
        print("| calls so far | failed | RSS MiB | growth KiB |\n|---:|---:|---:|---:|")
        for quarter in range(1, 5):
            outcome = running.place(rate, calls // 4).wait(calls / 4 / rate + 60)
            time.sleep(40)  # 64·T1 and what follows it: timers hold a transaction for 32 s
            failed += outcome.failed
            growths.append(running.system.resident_kib)
            growth = growths[-1] - growths[0]
            print(
                f"| {quarter * calls // 4} | {failed} | {growths[-1] / 1024:.1f} | {growth:.0f} |", flush=True
            )
        left = running.system.metric("gateway_sip_transactions")
    growth = growths[-1] - growths[0]
    fine = growth < BAR_GROWTH_KIB and not failed and not left
    print(f"\nbars: {'all cleared' if fine else f'grew {growth:.0f} KiB, {failed} failed, {left:.0f} left'}")
    return 0 if fine else 1


def main() -> int:
    parser = argparse.ArgumentParser(description="Signalling load against one gateway process.")
    parser.add_argument("--rates", default="50,100,200,300,400,500", help="calls a second, comma-separated")
    parser.add_argument("--seconds", type=int, default=20, help="how long each rate is held")
    parser.add_argument("--memory", action="store_true", help="100,000 calls, watching memory")
    parser.add_argument("--calls", type=int, default=100_000, help="calls of --memory")
    arguments = parser.parse_args()
    if arguments.memory:
        return memory(arguments.calls, rate=350)
    return rising([int(rate) for rate in arguments.rates.split(",")], arguments.seconds)


if __name__ == "__main__":
    sys.exit(main())

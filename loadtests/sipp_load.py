"""SIPp as a generator of calls and as the agents that take them; both bounded in count and in time."""

from __future__ import annotations

import contextlib
import csv
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

SCENARIOS = Path(__file__).parent / "scenarios"
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What SIPp counted: calls that went as written, calls that did not, messages sent again.

    moved: calls that went on at another node, in a scenario that counts them.
    """

    succeeded: int
    failed: int
    retransmissions: int
    seconds: float
    moved: int = 0

    @property
    def rate(self) -> float:
        """Calls a second that were really placed."""
        return (self.succeeded + self.failed) / self.seconds


def free_port(host: str) -> int:
    """A UDP port outside the kernel's ephemeral range, where no other socket gets it by chance."""
    for port in range(20_000, 30_000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind((host, port))
            except OSError:
                continue
            return port
    raise OSError("no free port")


class SippLoad:
    """One SIPp process. ``stop`` ends it and returns what it counted."""

    def __init__(self, directory: Path, scenario: str, *arguments: str, host: str = "127.0.0.1") -> None:
        self.address: Address = (host, free_port(host))
        self._statistics = directory / f"{scenario}_{self.address[1]}.csv"
        command = ["sipp", "-sf", str(SCENARIOS / f"{scenario}.xml"), "-i", host, "-p", str(self.address[1])]
        command += ["-bind_local", "-nostdin", "-aa", "-buff_size", "4194304", "-timer_resol", "4"]
        command += ["-trace_stat", "-stf", str(self._statistics), "-fd", "1", *arguments]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, cwd=directory)
        self._started = time.monotonic()

    @property
    def agent_uri(self) -> str:
        return f"sip:agent@{self.address[0]}:{self.address[1]};media=direct"

    def wait(self, seconds: float) -> Outcome:
        """Until it has placed all its calls, or those seconds have passed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.stop()

    def stop(self, patience: float = 3.0) -> Outcome:
        """patience: seconds for the calls that are under way."""
        elapsed = time.monotonic() - self._started
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGUSR1)  # finish what is under way, write the statistics, end
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return self.counted(elapsed)

    def counted(self, elapsed: float = 0.0) -> Outcome:
        """What it has counted up to its last full second."""
        with self._statistics.open(newline="") as file:
            last = list(csv.DictReader(file, delimiter=";"))[-1]
        counts = (int(last[f"{name}(C)"]) for name in ("SuccessfulCall", "FailedCall", "Retransmissions"))
        return Outcome(*counts, elapsed, int(last.get("GenericCounter1(C)") or 0))


def agent(directory: Path) -> SippLoad:
    """An agent that takes every call, for as long as it lives (ten minutes, then it ends by itself)."""
    return SippLoad(directory, "agent", "-timeout", "600s")


def caller(
    directory: Path,
    gateway: Address,
    numbers: Path,
    *,
    rate: int,
    calls: int,
    talk_ms: int,
    scenario: str = "caller",
) -> SippLoad:
    """``calls`` calls at ``rate`` a second, each to the next number of the CSV, each talking that long.

    scenario: another one that takes the same arguments.
    """
    remote = f"{gateway[0]}:{gateway[1]}"
    limits = ["-m", str(calls), "-l", str(rate * 20), "-timeout", f"{calls // rate + 60}s"]
    pace = ["-r", str(rate), "-d", str(talk_ms), "-inf", str(numbers)]
    return SippLoad(directory, scenario, remote, *limits, *pace)

"""Machine instructions of one B2BUA call through the SIP core, against a committed baseline.

    python -m loadtests.count_instructions [--write]

Times are noisy on a shared machine, instructions are not: the call of `bench_core` runs under valgrind's
cachegrind, a few times and some more times, and the difference is what a call takes, start and imports left
out. Another build of Python takes other numbers of instructions for the same work, so a yardstick of plain
string and dictionary work is counted likewise, and calls are compared in units of it. `--write` makes the
present figure the baseline of the build that it is from, pure or compiled.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from gateway.build import BUILD
from loadtests.bench_core import INVITE_HEAD, Bench

BASELINE: Final = Path(__file__).parent / "data" / "instructions.json"

FEW, MANY = 20, 60
"""Calls of the two runs: the first ones fill caches and tables."""

ROUNDS: Final = 20
"""Of the yardstick, for each call."""

SAME_BUILD: Final = 0.03
"""Share that a call may cost more than the baseline says, by the Python that the baseline is from. Runs
differ by two thousandths."""

OTHER_BUILD: Final = 0.15
"""Likewise by any other Python, in units of the yardstick."""

MAX_SECONDS: Final = 300

KIND: Final = "compiled" if BUILD.compiled else "pure"
"""Each has a baseline of its own."""


@dataclass(frozen=True, slots=True)
class Count:
    """Instructions of a call, and of the yardstick of one call; python: by which they were executed."""

    python: str
    call: int
    yardstick: int

    @property
    def ratio(self) -> float:
        """A call in units of the yardstick."""
        return self.call / self.yardstick

    def growth(self, baseline: Count) -> float:
        """Share by which a call has become dearer; negative: cheaper."""
        if self.python == baseline.python:
            return self.call / baseline.call - 1
        return self.ratio / baseline.ratio - 1

    def allowed(self, baseline: Count) -> float:
        """The growth that passes."""
        return SAME_BUILD if self.python == baseline.python else OTHER_BUILD


def count(expected: Count | None = None) -> Count:
    """Run everything under cachegrind. Raises RuntimeError with what it said if that fails.

    expected: by the same Python its yardstick is taken for this one's.
    """
    same = expected is not None and expected.python == sys.version
    yardstick = expected.yardstick if expected is not None and same else _each("yardstick")
    return Count(sys.version, _each("calls"), yardstick)


def baselines() -> dict[str, Count]:
    """What is committed, by the kind of build."""
    if not BASELINE.exists():
        return {}
    return {kind: Count(**fields) for kind, fields in json.loads(BASELINE.read_text()).items()}


def baseline() -> Count:
    """What is committed for this build."""
    return baselines()[KIND]


def _each(work: str) -> int:
    return (_instructions(work, MANY) - _instructions(work, FEW)) // (MANY - FEW)


def _instructions(work: str, number: int) -> int:
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command += [sys.executable, "-m", __spec__.name, "--work", work, str(number)]
    settled = {
        "PYTHONHASHSEED": "0",
        "PYTHONMALLOC": "pymalloc",
        "PYTHONSAFEPATH": "1",  # the gateway of this environment, not the checkout's
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=MAX_SECONDS, env=settled, check=False
    )
    counted = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode or counted is None:
        raise RuntimeError(f"{' '.join(done.args)}\n{done.stderr}")
    return int(counted[1].replace(",", ""))


def _work(work: str, number: int) -> None:
    gc.disable()  # when it runs depends on everything before
    if work == "calls":
        Bench().run(number)
    else:
        for _ in range(number * ROUNDS):
            _yardstick()


def _yardstick() -> int:
    lines = INVITE_HEAD.encode().decode().split("\r\n")
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        found[name.lower()] = value.strip()
    return len("\r\n".join(f"{name}: {value}" for name, value in found.items()).encode())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="make this the baseline")
    parser.add_argument("--work", nargs=2, metavar=("WHAT", "TIMES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        _work(options.work[0], int(options.work[1]))
        return 0
    kept = baselines()
    expected = None if options.write else kept[KIND]
    counted = count(expected)
    print(f"{BUILD.kind}: {counted.call:,} instructions a call, {counted.ratio:.2f} yardsticks")
    if expected is None:
        kept[KIND] = counted
        written = {kind: asdict(each) for kind, each in sorted(kept.items())}
        BASELINE.write_text(json.dumps(written, indent=2) + "\n")
        return 0
    growth, allowed = counted.growth(expected), counted.allowed(expected)
    print(f"{growth:+.1%} against the baseline of {expected.call:,}; {allowed:.0%} more would be too much")
    return 0 if growth <= allowed else 1


if __name__ == "__main__":
    sys.exit(main())

"""Fuzz for a bounded time: ``python -m tests.fuzz --seconds 300 [target …]``.

Guided by coverage with atheris where it is installed (`make fuzz` sees to that), else by mutation of the corpus.
New inputs that reach new code gather in ``build/fuzz/TARGET``; one that fails stands there as ``crash-…`` and is
printed. Put it into ``tests/data/fuzz/TARGET`` with the fix: the suite replays everything there.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import subprocess
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "data" / "fuzz"
GATHERED = ROOT / "build" / "fuzz"
MAX_LENGTH = 20_000  # bytes of an input: more than any cap of a single message


def guided(name: str, seconds: int) -> None:
    """Fuzz one target in this process, which atheris ends."""
    import atheris

    with atheris.instrument_imports(include=["gateway"]):
        from tests.fuzz.targets import TARGETS

    gathered = GATHERED / name
    gathered.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_LENGTH}", "-timeout=10", "-rss_limit_mb=1024"]
    options += [f"-artifact_prefix={gathered}/", "-print_final_stats=1", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, str(gathered), str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()


def unguided(name: str, seconds: int) -> bool:
    """Mutate the corpus for that long; False if something failed."""
    from tests.fuzz.targets import TARGETS, mutated

    dice = random.Random()
    inputs = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    until, runs = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        data = mutated(dice.choice(inputs), dice.choice(inputs), dice)[:MAX_LENGTH]
        runs += 1
        try:
            TARGETS[name](data)
        except Exception:
            traceback.print_exc()
            (GATHERED / name).mkdir(parents=True, exist_ok=True)
            crash = GATHERED / name / f"crash-{dice.getrandbits(64):016x}"
            crash.write_bytes(data)
            print(f"{name}: failed on {crash}")
            return False
    print(f"{name}: {runs} inputs")
    return True


def main() -> int:
    names = sorted(path.name for path in CORPUS.iterdir())
    parser = argparse.ArgumentParser(description="Fuzz what peers can reach.")
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--seconds", type=int, default=180, help="altogether")
    parser.add_argument("--guided", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.guided:
        guided(arguments.guided, arguments.seconds)
        return 0
    targets = arguments.targets or names
    each = max(1, arguments.seconds // len(targets))
    failed = []
    for name in targets:
        if importlib.util.find_spec("atheris") is None:
            fine = unguided(name, each)
        else:
            command = [sys.executable, "-m", "tests.fuzz", "--guided", name, "--seconds", str(each)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            told = done.stdout + done.stderr
            fine = done.returncode == 0
            print(f"{name}: " + (_statistics(told) if fine else told[-4000:]), flush=True)
        failed += [] if fine else [name]
    print("failed: " + (", ".join(failed) or "none"))
    return 1 if failed else 0


def _statistics(told: str) -> str:
    """What libFuzzer counted."""
    wanted = ("number_of_executed_units", "new_units_added", "peak_rss_mb")
    found = dict(
        line.removeprefix("stat::").split(":", 1) for line in told.splitlines() if line.startswith("stat::")
    )
    return ", ".join(f"{name} {found[name].strip()}" for name in wanted if name in found)


if __name__ == "__main__":
    raise SystemExit(main())

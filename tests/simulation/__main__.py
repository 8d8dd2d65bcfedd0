"""Run seeds: ``python -m tests.simulation --seeds 1000``; ``--seeds 5:6`` replays one."""

from __future__ import annotations

import argparse
import time
import traceback
from collections import Counter

from tests.simulation.world import CALLERS, run


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", default="100", metavar="COUNT|FROM:TO")
    arguments.add_argument("--callers", type=int, default=CALLERS, help="of each world")
    given = arguments.parse_args()
    first, _, last = given.seeds.rpartition(":")
    seeds = range(int(first or 0), int(last))
    outcomes: Counter[str] = Counter()
    failed: list[int] = []
    began = time.monotonic()
    done = 0
    try:
        for seed in seeds:
            try:
                outcomes.update(record.outcome for record in run(seed, given.callers))
            except Exception:
                traceback.print_exc()
                print(
                    f"seed {seed} failed; replay it: "
                    f"python -m tests.simulation --seeds {seed}:{seed + 1} --callers {given.callers}"
                )
                failed.append(seed)
            done += 1
    except KeyboardInterrupt:
        pass
    seconds = time.monotonic() - began
    print(f"{done} seeds, {outcomes.total()} calls in {seconds:.0f} s: {dict(outcomes)}")
    print(f"failed seeds: {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

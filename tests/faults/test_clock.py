"""A program's wall clock set wrong while it runs; its monotonic one is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from loadtests.faults.clock import set_wrong

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys, time
from datetime import UTC, date, datetime
from pathlib import Path
import msgspec
from loadtests.faults.clock import set_wrong

real = time.time()
steady = time.monotonic()
for seconds in (0, 86_400, -90):
    set_wrong(Path(sys.argv[1]), seconds)
    clocks = [
        time.time(),
        time.time_ns() / 1e9,
        time.clock_gettime(time.CLOCK_REALTIME),
        time.mktime(time.localtime()),
        datetime.now(UTC).timestamp(),
        datetime.now().timestamp(),
        datetime.utcnow().replace(tzinfo=UTC).timestamp(),
        datetime.today().timestamp(),
    ]
    assert all(abs(clock - real - seconds) < 60 for clock in clocks), (seconds, clocks)
    assert abs((date.today() - date.fromtimestamp(real + seconds)).days) < 1
    assert time.gmtime()[:3] == time.gmtime(real + seconds)[:3] and time.strftime("%Y")
    assert type(datetime.now(UTC)) is datetime and msgspec.json.encode(datetime.now(UTC))
assert 0 <= time.monotonic() - steady < 60
assert sys.argv[1:] == [sys.argv[1], "word"]
print("well")
"""


def test_a_clock_is_set_while_the_program_runs(tmp_path: Path) -> None:
    clock, program = tmp_path / "clock", tmp_path / "program.py"
    set_wrong(clock, 0)
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.faults.clock", clock, program, clock, "word"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr

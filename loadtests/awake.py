"""Keeps the cores of a virtual machine from going to sleep, as `idle=poll` would.

A virtual core that has nothing to do is given back to its host, and comes back milliseconds late: on a
machine that nobody else uses, a bare loop let up to two packets in a hundred pass more than 5 ms late, and
none with this. One process for each core burns what nobody wants, and everybody else goes before it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LEAST: Final = "19"
"""As nice as a session can be (sched(7), autogroups)."""

BURN: Final = "import os\nwhile os.getppid() == {parent}:\n  for _ in range(100_000): pass"
"""It ends with its parent, whatever becomes of that."""


@contextlib.contextmanager
def awake() -> Iterator[None]:
    """No core sleeps meanwhile."""
    burners = []
    try:
        for core in os.sched_getaffinity(0):
            burner = subprocess.Popen(
                [sys.executable, "-S", "-c", BURN.format(parent=os.getpid())], start_new_session=True
            )
            burners.append(burner)
            os.sched_setaffinity(burner.pid, {core})
            os.sched_setscheduler(burner.pid, os.SCHED_IDLE, os.sched_param(0))
            # Where sessions share the cores, its session has the least, too.
            with contextlib.suppress(OSError):
                Path(f"/proc/{burner.pid}/autogroup").write_text(LEAST)
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()

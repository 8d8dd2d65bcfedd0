"""What a process costs: CPU time and resident memory, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024


def cpu_ms(pid: int) -> float:
    """User plus system CPU time that the process has used so far, in milliseconds (10 ms steps)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_MS


def resident_kib(pid: int) -> float:
    """Resident set size in KiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_KIB


def children(pid: int, *, skip: str = "") -> list[int]:
    """Processes that it and its own have started and that still run, without those of the name `skip`."""
    started = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        started += [int(child) for child in (task / "children").read_text().split()]
    found = [child for child in started if Path(f"/proc/{child}/comm").read_text().strip() != skip]
    return [each for child in found for each in (child, *children(child, skip=skip))]

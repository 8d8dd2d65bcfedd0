"""Which worker a process is: a numbered slot of the data directory, held by a lock for as long as it lives.

A worker that is started again after a crash has its old slot, so that its name, its ports and its files are
the same. A new version that starts beside a running one takes other slots: until the old one's last call is
over, both are there, and nothing of theirs may have the same name.
"""

from __future__ import annotations

import fcntl
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

MAX_WORKERS: Final = 16
"""Of one gateway. A worker is a core's worth; a machine with more cores than that is better off as two
nodes."""

MAX_SLOTS: Final = 4 * MAX_WORKERS
"""Slots of one data directory: a gateway, the version before it, and two more that still finish calls."""

MAX_SOCKET_PATH: Final = 90
"""Characters of the directory's path with its longest name; the kernel takes 107 (unix(7))."""

OFFICE: Final = "office"
"""Of the sockets, the one of the process that leads the workers."""


class NoSlotLeft(Exception):  # noqa: N818 - it names what is wrong outside of us
    """Too many processes run on this data directory; the message says what to do."""


def run_directory(data_dir: Path) -> Path:
    """Where a data directory's processes find each other; the same in every process that asks."""
    path = (data_dir / "run").absolute()
    if len(str(path)) + len("/worker-64.handover") <= MAX_SOCKET_PATH:
        return path
    name = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"voice-gateway-{name}"


def web_socket(directory: Path, slot: int) -> Path:
    """Where a worker's office asks it things, HTTP over a unix socket; slot 0 for the office itself."""
    return directory / (f"worker-{slot}.web" if slot else f"{OFFICE}.web")


def handover_socket(directory: Path, slot: int) -> Path:
    """Where a worker takes SIP messages that its siblings have read."""
    return directory / f"worker-{slot}.handover"


@dataclass(frozen=True, slots=True)
class Claim:
    """Slots that are ours until every process that has inherited their locks is gone.

    slots: from 1; others: those that somebody else holds.
    """

    slots: Sequence[int]
    others: Sequence[int]
    locks: Sequence[IO[bytes]]

    def give_back(self) -> None:
        """Let go of them in this process."""
        for lock in self.locks:
            lock.close()


def claim(directory: Path, count: int) -> Claim:
    """Take the lowest slots that are free. Blocks.

    Raises:
        NoSlotLeft: there are not so many.
        OSError: the directory cannot be made or written.

    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)  # whoever can write to these sockets can make calls
    slots: list[int] = []
    others: list[int] = []
    locks: list[IO[bytes]] = []
    for slot in range(1, MAX_SLOTS + 1):
        path = directory / f"worker-{slot}.lock"
        if len(slots) == count and not path.exists():
            continue
        lock: IO[bytes] = path.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            others.append(slot)
            continue
        if len(slots) < count:
            slots.append(slot)
            locks.append(lock)
        else:
            lock.close()
    if len(slots) < count:
        for lock in locks:
            lock.close()
        raise NoSlotLeft(
            f"data.dir: {len(others)} workers run on {directory.parent}: wait until the calls of earlier"
            " versions are over, or end them"
        )
    return Claim(tuple(slots), tuple(others), tuple(locks))

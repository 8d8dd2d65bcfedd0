"""How much room is left where we write: a full disk costs recordings and changes of the API, not calls."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

INTERVAL: Final = 15.0
"""Seconds between looks. A disk that fills at 100 MB/s loses 1.5 GB meanwhile."""


async def watch_disk_space(
    directories: Mapping[str, Path],
    tell: Callable[[str, int, int], None],
    interval: float = INTERVAL,
) -> None:
    """Look for as long as the task lives, in a thread: a network file system may take its time.

    directories: by the name they are told of; one that cannot be looked at is passed over.
    tell: is given that name, the bytes free for us and the bytes that there are.
    """
    while True:
        for name, directory in directories.items():
            try:
                usage = await asyncio.to_thread(shutil.disk_usage, directory)
            except OSError:
                continue  # not made yet, or gone for a moment
            tell(name, usage.free, usage.total)
        await asyncio.sleep(interval)

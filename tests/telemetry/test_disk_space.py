"""Room on the disk: told for each directory, also when one of them is not there."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.telemetry.disk_space import watch_disk_space


async def test_each_directory_that_is_there_is_told_of(tmp_path: Path) -> None:
    told: dict[str, tuple[int, int]] = {}
    both = asyncio.Event()
    rounds: list[str] = []

    def tell(name: str, free: int, size: int) -> None:
        told[name] = free, size
        rounds.append(name)
        if len(rounds) == 2:
            both.set()

    directories = {"gone": tmp_path / "gone", "data": tmp_path}
    task = asyncio.create_task(watch_disk_space(directories, tell, interval=0))
    await asyncio.wait_for(both.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert told.keys() == {"data"}
    free, size = told["data"]
    assert 0 < free <= size

"""An API in a process of its own, to be killed. It is forked from a server that has imported everything already."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.api.http.rig import running_api

PATIENCE = 60.0
"""Seconds for it to start."""

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    [__name__, "api.carriers.twilio_account", "api.carriers.telnyx_account", "asyncpg"]
)


@dataclass(frozen=True, slots=True)
class MortalApi:
    """One that runs. address: where it is asked."""

    address: str
    pid: int

    def kill(self) -> None:
        """SIGKILL: it does nothing any more, not even close a socket."""
        os.kill(self.pid, signal.SIGKILL)


@contextmanager
def mortal_api(directory: Path, options: dict[str, Any]) -> Iterator[MortalApi]:
    """Start one; a test ends with its death. Blocks."""
    ours, theirs = _forks.Pipe()
    process = _forks.Process(target=_run, args=(directory, options, theirs), daemon=True)
    process.start()
    try:
        assert ours.poll(PATIENCE), "the API did not start"
        yield MortalApi(ours.recv(), process.pid or 0)
        process.join(PATIENCE)
        assert process.exitcode == -signal.SIGKILL, "it was not killed"
    finally:
        process.kill()
        process.join(PATIENCE)


def _run(directory: Path, options: dict[str, Any], told: Connection) -> None:
    async def serve() -> None:
        async with running_api(directory, **options) as api:
            told.send(api.address)
            await asyncio.sleep(10 * PATIENCE)

    asyncio.run(serve())

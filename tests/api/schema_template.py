"""Stores at the newest schema, by copying: the migrations cost a hundred times as much."""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from api.store.database import SQLITE_FILE, open_database
from tests.postgres import PostgresServer

Result = TypeVar("Result")


def put_sqlite(directory: Path) -> None:
    """Make an empty store in a directory, if there is none. Blocks."""
    path = directory / SQLITE_FILE
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_bytes(_sqlite())


@functools.cache
def _sqlite() -> bytes:
    """The file of an empty store."""
    with tempfile.TemporaryDirectory() as name:
        _run_aside(_migrate("", Path(name)))
        return (Path(name) / SQLITE_FILE).read_bytes()


@functools.cache
def postgres_template(server: PostgresServer) -> str:
    """The name of a database, on a server, that is an empty store. Blocks."""

    async def make() -> str:
        name = await server.create_database()
        await _migrate(server.url(name), Path())
        return name

    return _run_aside(make())


async def _migrate(url: str, directory: Path) -> None:
    database = await asyncio.to_thread(open_database, url, directory)
    await database.open()
    await database.close()


def _run_aside(work: Coroutine[None, None, Result]) -> Result:
    """Have it done in a thread: a test that asks for it may have a loop that runs already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()

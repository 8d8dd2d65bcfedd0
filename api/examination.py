"""What the API would find if it were started now, without changing anything."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alembic.script import ScriptDirectory
from sqlalchemy import func, inspect, select, text
from sqlalchemy.orm import Session

from api.number_records import ALL
from api.secret_box import SecretBox
from api.secret_keys import KEY_FILE, obtain_keys, open_check
from api.store.database import StoreUnavailable, open_database
from api.store.postgres import PostgresDatabase
from api.store.schema import SchemaError, configuration, head
from api.store.sqlite import SqliteDatabase
from api.store.tables import AgentRow, NumberCountRow, StateRow

EXAMINE_SECONDS: Final = 15.0
"""For a database to answer."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What a store holds. version: of its schema; empty: there is none yet."""

    version: str
    numbers: int = 0
    agents: int = 0
    key_check: bytes | None = None


async def examine(
    directory: Path, database_url: str = "", secret_key: str = "", replica_urls: Sequence[str] = ()
) -> str:
    """The state of the store and its keys, in words.

    Raises:
        StoreUnavailable: it cannot be reached. SchemaError: it is of a newer version.
        SecretKeyError, OSError: the keys are unusable, missing, or another store's.

    """
    database = await asyncio.to_thread(open_database, database_url, directory, replica_urls)
    stale: list[int] = []
    try:
        if isinstance(database, SqliteDatabase):
            where = str(database.path)
            if not await asyncio.to_thread(database.path.exists):
                await _keys(directory, secret_key, None)
                return f"{where}: made at the first start"
        else:
            where = "PostgreSQL"
        try:
            async with asyncio.timeout(EXAMINE_SECONDS):
                found = await database.read(_look)
                if isinstance(database, PostgresDatabase) and found.version:
                    stale = await database.stale_replicas()
        except TimeoutError:
            raise StoreUnavailable(f"no answer within {EXAMINE_SECONDS:g} s") from None
    finally:
        await database.close()
    await _keys(directory, secret_key, found.key_check)
    if found.version and stale:
        named = ", ".join(map(str, stale))
        raise StoreUnavailable(
            f"api.database_replica_urls: not asked: number {named}: away, behind, or no replica of this store"
        )
    if not found.version:
        return f"{where}: empty, made ready at the first start"
    holds = f"{where}: {found.numbers} numbers, {found.agents} agents"
    newest = await asyncio.to_thread(head)
    if found.version == newest:
        return holds
    known = await asyncio.to_thread(_steps)
    if found.version not in known:
        raise SchemaError(
            "the store was written by a newer version of voice-gateway: run that one, or restore a backup"
        )
    return f"{holds}; its schema is brought from {found.version} to {newest} at the next start"


def _look(session: Session) -> _Found:
    if not inspect(session.connection()).has_table("alembic_version"):
        return _Found("")
    version = session.scalar(text("SELECT version_num FROM alembic_version"))
    if not version:
        return _Found("")
    counted = select(func.coalesce(func.sum(NumberCountRow.count), 0)).where(NumberCountRow.agent_id == ALL)
    return _Found(
        str(version),
        int(session.scalar(counted) or 0),
        session.scalar(select(func.count()).select_from(AgentRow)) or 0,
        session.scalar(select(StateRow.key_check)),
    )


async def _keys(directory: Path, secret_key: str, key_check: bytes | None) -> None:
    """Whether there are keys, and the right ones; a new store may do without."""
    has_file = await asyncio.to_thread((directory / KEY_FILE).exists)
    if not secret_key and not has_file and key_check is None:
        return
    if not secret_key and not has_file:
        open_check(None, key_check)
    keys = await asyncio.to_thread(obtain_keys, secret_key, directory)
    open_check(SecretBox(keys), key_check)


def _steps() -> set[str]:
    return {step.revision for step in ScriptDirectory.from_config(configuration()).walk_revisions()}

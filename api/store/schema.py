"""Brings a store to the schema of this version, with Alembic."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

MIGRATIONS: Final = Path(__file__).parent / "migrations"

_LOCK: Final = 0x7663_6777
"""PostgreSQL's advisory lock for it: any number, so long as everybody takes the same."""


class SchemaError(Exception):
    """The store is of another version; the message says what to do."""


def upgrade(connection: Connection) -> None:
    """Run the migrations that are missing, all or none; two processes at once wait for each other. Blocks.

    Raises:
        SchemaError: the store was written by a newer version.

    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    if MigrationContext.configure(connection).get_current_heads() == (head(),):
        return  # as at almost every start; Alembic's own way there takes longer than all else
    try:
        command.upgrade(configuration(connection), "head")
    except CommandError as error:
        if "Can't locate revision" not in str(error):
            raise
        raise SchemaError(
            "the store was written by a newer version of voice-gateway: run that one, or restore a backup"
        ) from None


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration; nothing is read from a file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@cache
def head() -> str | None:
    """The newest step that this version knows."""
    return ScriptDirectory.from_config(configuration()).get_current_head()

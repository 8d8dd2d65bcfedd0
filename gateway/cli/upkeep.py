"""`voice-gateway backup`, `restore` and `secrets rotate`: looking after the store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from gateway.api_service import (
    KEY_FILE,
    ApiStartError,
    BackupError,
    SecretKeyError,
    StoreUnavailable,
    back_up,
    make_service,
    restore,
)
from gateway.cli.errors import UsageError
from gateway.config import Settings
from gateway.recordings_place import audio_directory
from storage.objects import StorageError

PG_HINT = "api.database_url: back up PostgreSQL with pg_dump and pg_restore: docs/backup.md has the commands"


def run_backup(settings: Settings, target: Path, *, with_key: bool) -> None:
    """Write an archive. Raises UsageError."""
    _refuse_postgres(settings)
    try:
        audio = audio_directory(settings)
        manifest = back_up(settings.data.dir, target, with_key=with_key, audio=audio)
    except (BackupError, StorageError, OSError) as error:
        raise UsageError(str(error)) from None
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"{target}: {manifest.numbers} numbers, {manifest.agents} agents, {manifest.greetings} greetings,"
        f" as of {manifest.created_at}"
    )
    if audio is None:
        console.print(f"Greetings stay in {settings.storage.url.partition('?')[0]}.")
    if manifest.has_key:
        console.print(f"It holds {KEY_FILE}, which opens the secrets in it: keep it as you keep a password.")
    else:
        console.print("It does not hold the secret key: keep that in another place, or secrets are lost.")


def run_restore(settings: Settings, source: Path, *, force: bool) -> None:
    """Put an archive's files in place. Raises UsageError."""
    _refuse_postgres(settings)
    try:
        audio = audio_directory(settings)
        manifest = restore(source, settings.data.dir, force=force, audio=audio)
    except (BackupError, StorageError, OSError) as error:
        raise UsageError(str(error)) from None
    Console(highlight=False, soft_wrap=True).print(
        f"{settings.data.dir}: {manifest.numbers} numbers, {manifest.agents} agents,"
        f" {manifest.greetings if audio else 0} greetings, as of {manifest.created_at}."
        " Start the gateway: Redis follows by itself."
    )


def run_rotate(settings: Settings) -> None:
    """Seal every secret with a fresh key, or with the first of the configured ones. Raises UsageError."""
    try:
        asyncio.run(_rotate(settings))
    except (ApiStartError, SecretKeyError, StoreUnavailable, OSError) as error:
        raise UsageError(str(error)) from None


async def _rotate(settings: Settings) -> None:
    service = make_service(settings)
    await service.open()
    try:
        rotation = service.rotation()
        console = Console(highlight=False, soft_wrap=True)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("sealing secrets anew", total=await rotation.total())

            def advance(count: int) -> None:
                progress.update(task, completed=count)

            if settings.api.secret_key.get_secret_value():
                count = await rotation.reseal(advance)
                told = "Now every process can do with the first key of api.secret_key: remove the others."
            else:
                count = await rotation.rotate_file(settings.data.dir / KEY_FILE, advance)
                told = f"{settings.data.dir / KEY_FILE} holds a fresh key; older backups need their own."
        console.print(f"{count} records sealed with the new key. {told}")
    finally:
        await service.close()


def _refuse_postgres(settings: Settings) -> None:
    if settings.api.database_url.get_secret_value():
        raise UsageError(PG_HINT)

"""Backup and restore of a store in an SQLite file: one archive with everything that a start needs.

    manifest.json            what it is of, and from when
    api.sqlite               the store, as of one moment, also while it is written to
    api.key                  opens the store's secrets; left out if asked for, or if there is none
    sandbox-carrier.sqlite   what the sandbox has sold, if anything
    greetings/….wav          what was uploaded, where audio is kept in a directory

Redis, the snapshot of the routes and recordings are not in it: the first two are made again from the store.
A store in PostgreSQL is backed up with its own tools. Everything here blocks.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from alembic.script import ScriptDirectory
from msgspec import Struct

from api.carriers.sandbox import FILE as SANDBOX_FILE
from api.identifiers import ID, timestamp
from api.secret_keys import KEY_FILE
from api.store.database import SQLITE_FILE
from api.store.schema import configuration
from storage.greetings import greeting_key

MANIFEST: Final = "manifest.json"

FORMAT: Final = 2

FORMATS: Final = frozenset({1, 2})
"""That are read: the first had no greetings."""

MAX_MANIFEST: Final = 64 * 1024
"""Bytes; ours has some hundred."""

ASIDE: Final = ".before-restore"
"""After the names of files that a forced restore replaces."""

_DATABASES: Final = (SQLITE_FILE, SANDBOX_FILE)

_GREETING: Final = re.compile(greeting_key(f"(?:{ID.pattern})"))


class BackupError(Exception):
    """It cannot be done; the message says why, and what to do."""


class Manifest(Struct, frozen=True):
    """What an archive is.

    schema: the step that the store was at; numbers, agents, greetings: how many, of greetings those whose
    audio is in it; has_key: whether the secret key is in it.
    """

    format: int
    created_at: str
    store_id: str
    schema: str
    numbers: int
    agents: int
    has_key: bool
    greetings: int = 0


def back_up(directory: Path, target: Path, *, with_key: bool = True, audio: Path | None = None) -> Manifest:
    """Write an archive, all or nothing, for nobody else to read.

    audio: the directory of finished audio, out of which the store's greetings are taken; None where that is
        another store.

    Raises:
        BackupError: there is no store, or it is damaged.
        OSError: the archive cannot be written.

    """
    store = directory / SQLITE_FILE
    if not store.exists():
        raise BackupError(f"{store}: there is no store; is data.dir right?")
    key = directory / KEY_FILE
    has_key = with_key and key.exists()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as scratch:
        copies = {name: Path(scratch, name) for name in _DATABASES if (directory / name).exists()}
        for name, copy in copies.items():
            _copy(directory / name, copy)
        greetings = [] if audio is None else _copy_greetings(copies[SQLITE_FILE], audio, Path(scratch))
        manifest = _manifest(copies[SQLITE_FILE], has_key=has_key, greetings=len(greetings))
        draft = Path(scratch, "archive")
        draft.touch(0o600)
        with tarfile.open(draft, "w") as archive:
            _add(archive, MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
            if has_key:
                _add(archive, KEY_FILE, key.read_bytes())
            for name, copy in copies.items():
                archive.add(copy, name, filter=_private)
            for name in greetings:
                archive.add(Path(scratch, name), name, filter=_private)
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.replace(target)
    return manifest


def restore(source: Path, directory: Path, *, force: bool = False, audio: Path | None = None) -> Manifest:
    """Put an archive's files into a data directory that no process works in.

    force: replace a store that is there; its files stay beside the new ones, named with `ASIDE`.
    audio: where greetings go, see `back_up`; None leaves them out.

    Raises:
        BackupError: it is no archive of ours, of a newer version, damaged, or the directory is in use.
        OSError: the files cannot be read or written.

    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".restore-") as scratch:
        manifest = _unpack(source, Path(scratch))
        _check(Path(scratch, SQLITE_FILE), manifest)
        present = [name for name in (*_DATABASES, KEY_FILE) if (directory / name).exists()]
        if present and not force:
            raise BackupError(
                f"{directory} has {', '.join(present)} already: use --force to replace, or another data.dir"
            )
        for name in present:
            if name in _DATABASES:
                _refuse_in_use(directory / name)
        if audio is not None:
            _put_greetings(Path(scratch), audio)
        for name in present:
            if name != KEY_FILE or manifest.has_key:
                (directory / name).replace(directory / f"{name}{ASIDE}")
        for name in (*_DATABASES, KEY_FILE):
            if Path(scratch, name).exists():
                Path(scratch, name).replace(directory / name)
    return manifest


def _copy_greetings(store: Path, audio: Path, scratch: Path) -> list[str]:
    """The keys of the greetings that a store knows, as far as they are there, their audio copied."""
    copied: list[str] = []
    with contextlib.closing(sqlite3.connect(store)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'greetings'").fetchall():
            return copied  # of a version that had none
        keys = [greeting_key(each) for (each,) in connection.execute("SELECT id FROM greetings ORDER BY id")]
    for key in keys:
        target = scratch / key
        target.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
            shutil.copyfile(audio / key, target)
            copied.append(key)
    return copied


def _put_greetings(scratch: Path, audio: Path) -> None:
    """Under one id the audio is always the same, so one that is there already may be replaced."""
    for path in sorted(scratch.glob(greeting_key("*"))):
        target = audio / path.relative_to(scratch)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)  # which may be on another disk


def _copy(source: Path, target: Path) -> None:
    """A consistent copy of a database that may be written to meanwhile."""
    target.touch(0o600)
    try:
        with (
            contextlib.closing(sqlite3.connect(source)) as original,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            original.backup(copy)
            [(verdict,)] = copy.execute("PRAGMA integrity_check(1)").fetchall()
    except sqlite3.Error as error:
        raise BackupError(f"{source}: {error}") from None
    if verdict != "ok":
        raise BackupError(f"{source} is damaged ({verdict}): restore an earlier backup")


def _manifest(store: Path, *, has_key: bool, greetings: int) -> Manifest:
    with contextlib.closing(sqlite3.connect(store)) as connection:
        [(store_id,)] = connection.execute("SELECT store_id FROM state").fetchall()
        [(schema,)] = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        [(numbers,)] = connection.execute("SELECT count(*) FROM phone_numbers").fetchall()
        [(agents,)] = connection.execute("SELECT count(*) FROM agents").fetchall()
    return Manifest(FORMAT, timestamp(), store_id, schema, numbers, agents, has_key, greetings)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o600
    archive.addfile(member, io.BytesIO(content))


def _private(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mode, member.uid, member.gid, member.uname, member.gname = 0o600, 0, 0, "", ""
    return member


def _unpack(source: Path, scratch: Path) -> Manifest:
    try:
        with tarfile.open(source, "r:") as archive:
            manifest = _read_manifest(archive)
            for member in archive:
                if member.name == MANIFEST:
                    continue
                known = member.name in (*_DATABASES, KEY_FILE) or _GREETING.fullmatch(member.name)
                if not known or not member.isfile():
                    raise BackupError(f"{source}: holds {member.name!r}, which no backup of ours does")
                _write(archive, member, scratch / member.name)
    except (tarfile.TarError, EOFError) as error:
        raise BackupError(f"{source}: is no backup of ours: {error}") from None
    if not (scratch / SQLITE_FILE).exists():
        raise BackupError(f"{source}: has no {SQLITE_FILE}; the archive is not whole")
    return manifest


def _read_manifest(archive: tarfile.TarFile) -> Manifest:
    member = archive.next()
    file = archive.extractfile(member) if member is not None and member.name == MANIFEST else None
    if file is None:
        raise tarfile.TarError(f"it does not begin with {MANIFEST}")
    try:
        manifest = msgspec.json.decode(file.read(MAX_MANIFEST), type=Manifest)
    except msgspec.DecodeError as error:
        raise tarfile.TarError(f"{MANIFEST}: {error}") from None
    if manifest.format not in FORMATS:
        raise BackupError(f"the backup has format {manifest.format}: use a newer version of voice-gateway")
    return manifest


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    content = archive.extractfile(member)
    target.parent.mkdir(exist_ok=True)
    target.touch(0o600)
    with target.open("wb") as file:
        while content is not None and (part := content.read(1 << 20)):
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _check(store: Path, manifest: Manifest) -> None:
    known = {each.revision for each in ScriptDirectory.from_config(configuration()).walk_revisions()}
    if manifest.schema not in known:
        raise BackupError("the backup was made by a newer version of voice-gateway: restore it with that one")
    try:
        with contextlib.closing(sqlite3.connect(store)) as connection:
            [(verdict,)] = connection.execute("PRAGMA integrity_check(1)").fetchall()
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        raise BackupError(f"the backup is damaged ({verdict}): take another one")


def _refuse_in_use(database: Path) -> None:
    """Raise BackupError if a process has the database open; else bring its log into it."""
    try:
        with _exclusively(database) as connection:
            connection.execute("PRAGMA journal_mode=DELETE").fetchall()
    except sqlite3.OperationalError as error:
        raise BackupError(f"{database} is in use: stop the gateway and the API first ({error})") from None
    except sqlite3.DatabaseError:
        return  # damaged, which is why it is being replaced


@contextlib.contextmanager
def _exclusively(database: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
        yield connection

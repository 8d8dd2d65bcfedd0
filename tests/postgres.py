"""A real PostgreSQL server for tests: its own data, on a unix socket only, ended with us."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import asyncpg

READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0

PLACES: Final = ("/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt")
"""Where packages put the server's programs when they leave PATH alone: Debian, Homebrew."""

FAST: Final = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "16MB"}
"""Settings that only a crash of the machine could regret."""


class PostgresServer:
    """One server. Its methods that are not coroutines block: call them where no loop runs."""

    def __init__(self, *, replica_of: PostgresServer | None = None) -> None:
        # Not under pytest's directories: the server's user may not enter those, and socket paths are short.
        self._directory = Path(tempfile.mkdtemp(prefix="vg-pg-"))
        self._user = _server_user()
        self._process: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            shutil.chown(self._directory, self._user.pw_uid, self._user.pw_gid)
        if replica_of is not None:
            primary = ("--host", str(replica_of._directory), "--username", "postgres")
            self._run("pg_basebackup", *primary, "--write-recovery-conf", "--checkpoint=fast")
            return
        self._run(
            "initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = FAST | {
            "listen_addresses": "",
            "unix_socket_directories": str(self._directory),
            "max_connections": "200",
        }
        guard = shutil.which("setpriv")  # the kernel ends the server with us, however we end
        log = (self._directory / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [
                    *([guard, "--pdeathsig", "INT"] if guard else []),
                    *(str(program("postgres")), "-D", str(self._data)),
                    *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
                ],
                **self._identity(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            assert self._process.poll() is None, f"postgres ended: {self._said()}"
            assert time.monotonic() < deadline, f"postgres does not come up: {self._said()}"
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it, by default in good order; SIGQUIT ends it as a crash would. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it answer nothing for a while, as a host that hangs: neither it nor what it serves runs."""
        assert self._process is not None
        frozen = [self._process.pid, *_children(self._process.pid)]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        """Stop it, and forget its data."""
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def url(self, name: str) -> str:
        """Of one of its databases, for `open_database`."""
        return f"postgresql+asyncpg://postgres@/{name}?host={self._directory}"

    async def connect(self, name: str = "postgres") -> asyncpg.Connection:
        """A connection past the store."""
        return await asyncpg.connect(user="postgres", database=name, host=str(self._directory))

    async def create_database(self, template: str = "template1") -> str:
        """A fresh database, empty or a copy of another one; its name."""
        name = f"test_{secrets.token_hex(6)}"
        connection = await self.connect()
        try:
            # Since 15 a copy goes through the log by default, at ten times the cost.
            how = " STRATEGY FILE_COPY" if connection.get_server_version().major >= 15 else ""
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}{how}")
        finally:
            await connection.close()
        return name

    async def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        connection = await self.connect()
        try:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        finally:
            await connection.close()

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    def _ready(self) -> bool:
        assert self._process is not None
        with contextlib.suppress(OSError):
            # Which process, and last in what state it is; a server that died may have left the file behind.
            lines = (self._data / "postmaster.pid").read_text().split()
            return lines[:1] == [str(self._process.pid)] and lines[-1] == "ready"
        return False

    def _said(self) -> str:
        return (self._directory / "log").read_text(errors="replace")[-2000:]

    def _identity(self) -> dict[str, object]:
        """Options of a child process: the server refuses to run as root."""
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _run(self, name: str, *options: str) -> None:
        done = subprocess.run(
            [str(program(name)), "-D", str(self._data), *options],
            **self._identity(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=READY_SECONDS * 2,
            cwd="/",
        )
        assert done.returncode == 0, f"{name}: {done.stderr.decode(errors='replace')}"


def program(name: str) -> Path:
    """One of the server's programs, of the newest version that is installed."""
    found = shutil.which(name)
    if found:
        return Path(found)
    candidates = [
        each
        for place in PLACES
        for pattern in (f"*/bin/{name}", f"postgresql*/bin/{name}")
        for each in Path(place).glob(pattern)
    ]
    assert candidates, f"PostgreSQL's {name} is not installed: scripts/setup test"
    return max(
        candidates, key=lambda each: [int(part) for part in each.parts[-3].split("@") if part.isdigit()]
    )


def _children(pid: int) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, check=False)
    return [int(each) for each in listed.stdout.split()]


def _server_user() -> pwd.struct_passwd | None:
    """Whom the server runs as; None: as we do."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else None

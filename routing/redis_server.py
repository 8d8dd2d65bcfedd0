"""A private redis-server: what `redis.url = ""` means. It listens on a unix socket only, and ends with us."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from routing.redis_clients import connected

READY_SECONDS: Final = 15.0
"""Until it must answer PING; loading a large data set from disk takes a few seconds."""

STOP_SECONDS: Final = 10.0
"""For its last save to disk."""

BACKOFF: Final = (0.1, 0.5, 2.0, 5.0)
"""Seconds before it is started again after dying, by attempt; the last one holds from then on."""

HEALTHY_SECONDS: Final = 60.0
"""After which a start counts as good, and the backoff begins anew."""

MAX_SOCKET_PATH: Final = 100
"""Characters: the kernel takes 107 (unix(7))."""


class RedisUnavailable(Exception):  # noqa: N818 - it names what is wrong outside of us
    """The private server cannot be had; the message names the fix."""


def socket_path(data_dir: Path) -> Path:
    """Where the private server of a data directory listens; the same in every process that asks."""
    path = (data_dir / "redis.sock").absolute()
    if len(str(path)) <= MAX_SOCKET_PATH:
        return path
    name = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"voice-gateway-{name}.sock"


def socket_url(data_dir: Path) -> str:
    """The URL of the private server of a data directory."""
    return f"unix://{quote(str(socket_path(data_dir)))}"


def _lock(directory: Path) -> IO[bytes]:
    """Take the data directory for this process. Blocks. Raises RedisUnavailable if another one has it.

    A second server would take the socket over, and leave the first gateway alone with routes that age.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / "redis.lock").open("wb")
    except OSError as error:
        raise RedisUnavailable(f"data.dir: {directory} is not writable: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise RedisUnavailable(
            f"data.dir: another gateway is running on {directory}; stop it, or choose another data.dir"
        ) from None
    return file


async def _harden(client: Redis) -> None:
    """Have it end even where it cannot save any more: else it outlives a data directory that is gone."""
    with contextlib.suppress(ResponseError):  # before Redis 7.0 it always refuses
        await client.config_set("shutdown-on-sigterm", "default force")


class EmbeddedRedis:
    """Runs one redis-server as a child, and runs it again when it dies.

    Args:
        data_dir: holds its socket and its dump.
        on_event: told what happened, in words, when it dies or cannot be started again.

    """

    def __init__(self, data_dir: Path, on_event: Callable[[str], None] = lambda text: None) -> None:
        self._directory = data_dir
        self._socket = socket_path(data_dir)
        self._on_event = on_event
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._lock: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """For `connect`."""
        return socket_url(self._directory)

    @property
    def pid(self) -> int | None:
        """Of the running server; None if there is none."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            RedisUnavailable: no redis-server on this machine, or it does not come up.

        """
        self._lock = await asyncio.to_thread(_lock, self._directory)
        try:
            await self._launch()
        except BaseException:
            await self.stop()
            raise
        self._keeper = asyncio.create_task(self._keep(), name="embedded-redis")

    async def stop(self) -> None:
        """End it, after its last save. Idempotent."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            await self._end(process)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _launch(self) -> None:
        binary = await asyncio.to_thread(shutil.which, "redis-server")
        if binary is None:
            raise RedisUnavailable(
                "redis.url: empty means a private redis-server, and none is installed: "
                "install it (Debian: apt-get install redis-server; macOS: brew install redis) or "
                "set redis.url"
            )
        await self._clear_socket()
        # A dead gateway must not leave its server behind: the kernel ends it with us.
        guard = await asyncio.to_thread(shutil.which, "setpriv")
        command = [guard, "--pdeathsig", "TERM", binary] if guard else [binary]
        self._process = await asyncio.create_subprocess_exec(
            *command,
            *("--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"),
            *("--dir", str(self._directory.absolute()), "--dbfilename", "redis.rdb"),
            *("--save", "60 1", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal is for us; we end it in order
        )
        try:
            await self._await_ready()
        except RedisUnavailable:
            await self._end(self._process)
            raise

    async def _clear_socket(self) -> None:
        """End a server that outlived a killed gateway: on its way out it would remove our socket."""
        async with connected(self.url, STOP_SECONDS) as client:
            with contextlib.suppress(RedisError, OSError):  # nobody is there, as it should be
                await client.shutdown(save=True)
        await asyncio.to_thread(self._socket.unlink, missing_ok=True)

    async def _await_ready(self) -> None:
        assert self._process is not None  # noqa: S101 - for the type checker
        try:
            async with connected(self.url, 1.0) as client, asyncio.timeout(READY_SECONDS):
                while self._process.returncode is None:
                    with contextlib.suppress(RedisError, OSError):
                        await client.ping()
                        await _harden(client)
                        return
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise RedisUnavailable(
                f"the private redis-server did not answer within {READY_SECONDS:g} s"
            ) from None
        raise RedisUnavailable(
            f"the private redis-server ended with status {self._process.returncode}:"
            f" is {self._directory} writable, and its redis.rdb undamaged?"
        )

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            assert self._process is not None  # noqa: S101 - for the type checker
            started = loop.time()
            status = await self._process.wait()
            if loop.time() - started > HEALTHY_SECONDS:
                attempt = 0
            self._on_event(f"the private redis-server ended with status {status}; starting it again")
            while True:
                await asyncio.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])
                attempt += 1
                try:
                    await self._launch()
                    break
                except (RedisUnavailable, OSError) as error:
                    self._on_event(str(error))

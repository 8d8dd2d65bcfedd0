"""Real redis-servers as operators run them: alone with TLS and users, behind Sentinel, as a cluster.

All on loopback, ended with us. Methods that are not coroutines block: call them where no loop runs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0

NAME: Final = "mymaster"
"""Of the primary, for Sentinel."""

SLOTS: Final = 16_384


def free_port() -> int:
    """A port of loopback that is free now, and whose bus port (10,000 above) is one, too."""
    while True:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = int(taken.getsockname()[1])
        if port <= 50_000:
            return port


class RedisProcess:
    """One redis-server."""

    def __init__(self, directory: Path, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"

    @property
    def command(self) -> list[str]:
        quiet = ("--save", "", "--appendonly", "no", "--dir", str(self.directory), "--daemonize", "no")
        here = () if "--tls-port" in self._options else ("--port", str(self.port))
        return ["redis-server", "--bind", "127.0.0.1", *here, *quiet, *self._options]

    def start(self) -> None:
        guard = shutil.which("setpriv")  # the kernel ends the server with us, however we end
        log = (self.directory / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [*([guard, "--pdeathsig", "TERM"] if guard else []), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self._listens():
            assert self._process.poll() is None, f"redis-server ended: {self.said()}"
            assert time.monotonic() < deadline, f"redis-server does not come up: {self.said()}"
            time.sleep(0.01)

    def said(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-2000:]

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def say(self, *words: str) -> bytes:
        """One command past redis-py, without TLS; the first bytes of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), READY_SECONDS) as connection:
            whole = [f"*{len(words)}", *(part for word in words for part in (f"${len(word.encode())}", word))]
            connection.sendall(("\r\n".join(whole) + "\r\n").encode())
            return connection.recv(65_536)

    def kill(self) -> None:
        """End it as a crash would."""
        self.stop(signal.SIGKILL)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it answer nothing for a while."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            if self._process is not None:
                os.kill(self._process.pid, signal.SIGCONT)


class SentinelSet:
    """A primary, a replica of it, and three Sentinels that watch both."""

    def __init__(self, directory: Path) -> None:
        self.servers = [RedisProcess(directory / "a"), RedisProcess(directory / "b")]
        self.sentinels = [_Sentinel(directory / f"s{number}") for number in range(3)]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(each.address for each in self.sentinels)}/{NAME}"

    def start(self) -> None:
        for server in self.servers:
            server.start()
        first, second = self.servers
        second.say("REPLICAOF", "127.0.0.1", str(first.port))
        for sentinel in self.sentinels:
            sentinel.watch(first)
            sentinel.start()
        deadline = time.monotonic() + READY_SECONDS
        while not all(sentinel.knows_everybody() for sentinel in self.sentinels):
            assert time.monotonic() < deadline, self.sentinels[0].said()
            time.sleep(0.05)

    def primary(self) -> RedisProcess:
        """Whom the Sentinels name."""
        answer = self.sentinels[0].say("SENTINEL", "get-master-addr-by-name", NAME)
        return next(each for each in self.servers if str(each.port).encode() in answer)

    def stop(self) -> None:
        for each in (*self.sentinels, *self.servers):
            each.stop(signal.SIGKILL)


class _Sentinel(RedisProcess):
    """One Sentinel; impatient, as nobody would be outside of a test."""

    def watch(self, server: RedisProcess) -> None:
        self._file = self.directory / "sentinel.conf"
        self._file.write_text(
            f"sentinel monitor {NAME} 127.0.0.1 {server.port} 2\n"
            f"sentinel down-after-milliseconds {NAME} 500\n"
            f"sentinel failover-timeout {NAME} 2000\n"
        )

    @property
    def command(self) -> list[str]:
        where = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory))
        return ["redis-server", str(self._file), "--sentinel", *where]

    def knows_everybody(self) -> bool:
        told = self.say("SENTINEL", "master", NAME).split(b"\r\n")
        known = {name: told[index + 2] for index, name in enumerate(told[:-2])}
        return known.get(b"num-slaves") == b"1" and known.get(b"num-other-sentinels") == b"2"


class ClusterSet:
    """Three primaries that have a third of the slots each."""

    def __init__(self, directory: Path) -> None:
        own = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
        self.servers = [RedisProcess(directory / f"c{number}", *own) for number in range(3)]

    @property
    def url(self) -> str:
        return f"redis+cluster://{self.servers[0].address},{self.servers[1].address}"

    def start(self) -> None:
        first, third = self.servers[0], SLOTS // 3 + 1
        for number, server in enumerate(self.servers):
            server.start()
            begins = number * third
            server.say("CLUSTER", "ADDSLOTSRANGE", str(begins), str(min(SLOTS, begins + third) - 1))
            server.say("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for server in self.servers[1:]:
            server.say("CLUSTER", "MEET", "127.0.0.1", str(first.port))
        deadline = time.monotonic() + READY_SECONDS
        while not all(b"cluster_state:ok" in each.say("CLUSTER", "INFO") for each in self.servers):
            assert time.monotonic() < deadline, first.say("CLUSTER", "NODES")
            time.sleep(0.05)

    def stop(self) -> None:
        for server in self.servers:
            server.stop(signal.SIGKILL)

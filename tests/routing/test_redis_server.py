"""The private redis-server: started, restarted, ended; never two, never an orphan."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from routing import redis_server
from routing.cache import RoutingCache
from routing.redis_clients import connect
from routing.redis_server import EmbeddedRedis, RedisUnavailable, socket_path, socket_url
from tests.routing.conftest import PATIENCE, a_number, fill, until


async def answers(url: str) -> bool:
    client = connect(url, 1.0)
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False
    finally:
        await client.aclose()


def is_alive(pid: int) -> bool:
    """A zombie, which nobody has waited for yet, is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


async def test_it_answers_on_a_socket_of_its_owner_only(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "data")
    await server.start()
    try:
        assert await answers(server.url)
        assert stat.S_IMODE(socket_path(tmp_path / "data").stat().st_mode) == 0o700
        client = connect(server.url, 1.0)
        assert (await client.config_get("port"))["port"] == "0"
        await client.aclose()
    finally:
        await server.stop()
        await server.stop()
    assert not await answers(server.url)
    assert not socket_path(tmp_path / "data").exists()


async def test_what_it_held_is_there_after_a_stop(tmp_path: Path) -> None:
    number = a_number()
    for round_number in range(2):
        server = EmbeddedRedis(tmp_path)
        await server.start()
        client = connect(server.url, 1.0)
        if round_number == 0:
            await fill(RoutingCache(client), number)
        held = await RoutingCache(client).number(number.phone_number)
        await client.aclose()
        await server.stop()
        assert held == number


async def test_it_is_started_again_when_it_dies(tmp_path: Path) -> None:
    events = list[str]()
    server = EmbeddedRedis(tmp_path, events.append)
    await server.start()
    try:
        for _ in range(2):
            first = server.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(lambda first=first: server.pid not in (None, first))
            async with asyncio.timeout(PATIENCE):
                while not await answers(server.url):
                    pass
        assert [event for event in events if "status -9" in event] == events
        assert len(events) == 2
    finally:
        await server.stop()


async def test_a_second_gateway_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    first, second = EmbeddedRedis(tmp_path), EmbeddedRedis(tmp_path)
    await first.start()
    try:
        with pytest.raises(RedisUnavailable, match="another gateway"):
            await second.start()
        await second.stop()
        assert await answers(first.url)
    finally:
        await first.stop()
    await second.start()
    await second.stop()


async def test_a_killed_gateway_leaves_no_server_and_a_new_one_gets_the_socket(tmp_path: Path) -> None:
    script = """
import asyncio, sys
from pathlib import Path
from routing.redis_server import EmbeddedRedis
async def main():
    server = EmbeddedRedis(Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), stdout=subprocess.PIPE
    )
    assert gateway.stdout is not None
    orphan = int(await gateway.stdout.readline())
    assert is_alive(orphan)
    gateway.kill()

    server = EmbeddedRedis(tmp_path)  # at once, while the orphan is still ending
    await gateway.wait()
    await server.start()
    try:
        await until(lambda: not is_alive(orphan))
        assert await answers(server.url)
        assert socket_path(tmp_path).exists()
    finally:
        await server.stop()


async def test_it_ends_when_told_to_even_if_its_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_server, "BACKOFF", (PATIENCE,))
    server = EmbeddedRedis(tmp_path / "data")
    await server.start()
    client = connect(server.url, 1.0)
    await fill(RoutingCache(client), a_number())
    await client.aclose()
    pid = server.pid
    assert pid is not None
    await asyncio.to_thread(shutil.rmtree, tmp_path / "data")
    os.kill(pid, signal.SIGTERM)
    await until(lambda: not is_alive(pid))
    await server.stop()


async def test_an_orphan_that_nobody_ended_is_ended(tmp_path: Path) -> None:
    """As on a system where the kernel does not end children with their parent."""
    path = socket_path(tmp_path)
    orphan = await asyncio.create_subprocess_exec(
        *("redis-server", "--port", "0", "--unixsocket", str(path), "--dir", str(tmp_path)),
        stdout=subprocess.DEVNULL,
    )
    server = EmbeddedRedis(tmp_path)
    try:
        async with asyncio.timeout(PATIENCE):
            while not await answers(server.url):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        await server.start()
        async with asyncio.timeout(PATIENCE):
            await orphan.wait()
        assert await answers(server.url)
    finally:
        with contextlib.suppress(ProcessLookupError):
            orphan.kill()
        await orphan.wait()
        await server.stop()


async def test_a_stale_socket_is_no_obstacle(tmp_path: Path) -> None:
    socket_path(tmp_path).touch()
    server = EmbeddedRedis(tmp_path)
    await server.start()
    assert await answers(server.url)
    await server.stop()


async def test_a_directory_with_a_long_or_strange_name(tmp_path: Path) -> None:
    for directory in (tmp_path / ("long" * 30), tmp_path / "50% of it?"):
        server = EmbeddedRedis(directory)
        await server.start()
        assert await answers(server.url)
        assert len(os.fsencode(socket_path(directory))) <= 107
        await server.stop()


def test_every_process_finds_the_same_socket_and_no_two_directories_share_one(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 150)
    assert socket_path(long / "a") == socket_path(long / "a")
    assert socket_path(long / "a") != socket_path(long / "b")
    assert socket_url(tmp_path).startswith("unix:///")


async def test_without_redis_server_the_error_names_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    server = EmbeddedRedis(tmp_path)
    with pytest.raises(RedisUnavailable, match=r"redis\.url.*apt-get install redis-server"):
        await server.start()
    monkeypatch.undo()
    await server.start()  # nothing of the failure is left
    await server.stop()


async def test_a_damaged_dump_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "redis.rdb").write_bytes(b"REDIS0009 and then rubbish")
    server = EmbeddedRedis(tmp_path)
    with pytest.raises(RedisUnavailable, match=r"redis\.rdb"):
        await server.start()
    assert server.pid is None


async def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RedisUnavailable, match=r"data\.dir"):
        await EmbeddedRedis(tmp_path / "file" / "data").start()


async def test_a_server_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = tmp_path / "bin" / "redis-server"
    silent.parent.mkdir()
    silent.write_text("#!/bin/sh\nexec sleep 600\n")
    silent.chmod(0o755)
    monkeypatch.setenv("PATH", f"{silent.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(redis_server, "READY_SECONDS", 0.2)
    pids = list[int]()
    end = EmbeddedRedis._end

    async def note(self: EmbeddedRedis, process: asyncio.subprocess.Process) -> None:
        pids.append(process.pid)
        await end(self, process)

    monkeypatch.setattr(EmbeddedRedis, "_end", note)
    with pytest.raises(RedisUnavailable, match="did not answer"):
        await EmbeddedRedis(tmp_path / "data").start()
    assert pids
    assert not is_alive(pids[0])

"""An API, a gateway and a Redis as processes, and a client that asks the API; for benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp

from routing.cache import META, NUMBERS
from routing.redis_clients import connect
from tests.e2e.exchange import CARRIERS, HOST, settings
from tests.e2e.gateway_process import GatewayProcess, to_toml, wait_until
from tests.e2e.sipp import free_port

KEY = "oi_sk_the-key-of-the-benchmarks-and-nothing-else"
COMMAND = str(Path(sys.executable).with_name("voice-gateway"))
START_SECONDS = 300


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The process, ended with the block."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def redis_server(directory: Path) -> Iterator[str]:
    """A redis-server of its own; its URL."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(directory)]
    with ended(subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)):
        wait_until(path.exists, "redis-server listens", 10)
        yield f"unix://{path}"


def configuration(directory: Path, redis_url: str, *, serve: bool) -> dict[str, dict[str, object]]:
    """Of a gateway and its API on loopback."""
    directory.mkdir(parents=True, exist_ok=True)
    whole = settings(directory, (HOST, free_port(HOST)), (HOST, free_port(HOST)))
    del whole["routing"]
    (directory / "carriers.toml").write_text(CARRIERS)
    whole["redis"] = {"url": redis_url}
    whole["api"] = {"bootstrap_key": KEY, "serve": serve, "rate_limit": 1e6, "verify_interval": 1e6}
    whole["logs"] = {"level": "warning"}
    return whole


@contextlib.contextmanager
def api_process(directory: Path, redis_url: str, database_url: str = "") -> Iterator[tuple[int, str]]:
    """`voice-gateway api`: its process id and address."""
    whole = configuration(directory, redis_url, serve=True)
    whole["api"]["database_url"] = database_url
    config = directory / "api.toml"
    config.write_text(to_toml(whole))
    address = f"{HOST}:{free_port(HOST)}"
    with (directory / "api.log").open("wb") as log:
        process = subprocess.Popen(
            [COMMAND, "api", "--config", str(config), "--listen", address], stdout=log, stderr=log
        )
    with ended(process):
        yield process.pid, f"http://{address}"


@contextlib.contextmanager
def gateway_process(directory: Path, redis_url: str, *, serve: bool) -> Iterator[GatewayProcess]:
    """`voice-gateway serve`, ready."""
    whole = configuration(directory, redis_url, serve=serve)
    sip, http = str(whole["sip"]["listen"][0]), str(whole["web"]["listen"])  # type: ignore[index]
    with GatewayProcess(directory, whole, sip=_address(sip), http=_address(http), patience=300.0) as gateway:
        yield gateway


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


class Client:
    """Asks one API."""

    def __init__(self, root: str, session: aiohttp.ClientSession) -> None:
        self.root = root
        self._session = session

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body)
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        async with self._session.request(method, self.root + path, data=data, headers=headers) as answer:
            text = await answer.read()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")
            return json.loads(text) if text else None

    async def ready(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                await self.ask("GET", "/v1/phone-numbers?limit=1")
                return
            except aiohttp.ClientError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def client(root: str) -> AsyncIterator[Client]:
    """A client that the API answers."""
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        asking = Client(root, session)
        await asking.ready()
        yield asking


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    await work()
    return (time.perf_counter() - began) * 1000


def number(index: int) -> str:
    """The n-th of two million fictional-looking numbers."""
    return f"+1{2_005_550_000 + index}"


async def until_redis_holds(url: str, count: int) -> None:
    """Wait until Redis has that many numbers, and says that it is complete."""
    redis = connect(url, 30.0)
    try:
        while await redis.hlen(NUMBERS) != count or not await redis.hget(META, "epoch"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    finally:
        await redis.aclose()


def rng() -> random.Random:
    """The same in each run."""
    return random.Random(int(os.environ.get("SEED", "1")))

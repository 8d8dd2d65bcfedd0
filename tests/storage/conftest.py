"""Every test of the contract runs on a directory and on a real S3 server (moto's, in a process of its own)."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from storage.local import LocalStore
from storage.objects import ObjectStore
from storage.opening import Credentials, from_url

START_SECONDS = 60


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert server.poll() is None, "moto's server ended"
            try:
                urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "moto's server does not answer"
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def bucket(s3_server: str) -> str:
    """The URL of a new bucket, with a prefix in it."""
    name = f"recordings-{uuid4().hex}"
    request = urllib.request.Request(f"{s3_server}/{name}", method="PUT")
    urllib.request.urlopen(request, timeout=30).close()
    return f"s3://{name}/some/prefix?endpoint={s3_server}&region=us-east-1"


@pytest.fixture(params=["local", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    opened: ObjectStore
    if request.param == "local":
        opened = LocalStore(tmp_path / "store")
    else:
        opened = from_url(request.getfixturevalue("bucket"), tmp_path, Credentials("key", "secret"))
    yield opened
    await opened.close()

"""Callers and agents that have one address family each, relayed across: signalling and audio, heard end to end."""

from __future__ import annotations

import socket
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.exchange import HOST, Exchange
from tests.e2e.gateway_process import wait_until

pytestmark = pytest.mark.e2e

LOUD = 1_000  # of a sample: somebody speaks

TRUNK = """\
[[trunk]]
name = "loopback"
sources = ["127.0.0.1", "::1"]
development = true
"""


def free_port6() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module")
def dual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Exchange, int]]:
    """A gateway on both families, and the port of its IPv6 listener."""
    directory, port = tmp_path_factory.mktemp("dual"), free_port6()
    (directory / "trunk.toml").write_text(TRUNK)
    sip = free_sip()
    exchange = Exchange(
        directory,
        sip={"listen": [sip, f"[::1]:{port}"], "agent_listen": [f"{HOST}:0", "[::1]:0"]},
        admission={"carriers_files": [str(directory / "trunk.toml")]},
        media={"bind": HOST, "bind6": "::1"},
    )
    exchange.gateway.sip = (HOST, int(sip.rpartition(":")[2]))
    with exchange.gateway:
        yield exchange, port


def free_sip() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        return f"{HOST}:{sock.getsockname()[1]}"


@pytest.fixture(scope="module", params=["::1", HOST], ids=["agent6", "agent4"])
def agent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of an agent that greets and echoes, and listens on one family only."""
    host = request.param
    address = f"[::1]:{free_port6()}" if host == "::1" else free_sip()
    command = [sys.executable, "-m", "tests.e2e.demo_agent", address, str(tmp_path_factory.mktemp("agent"))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield f"sip:demo@{address}"
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("caller", ["ipv4", "ipv6"])
def test_each_hears_the_other(dual: tuple[Exchange, int], agent: str, caller: str, tmp_path: Path) -> None:
    exchange, port6 = dual
    line = exchange.line(agent)
    where = f"[::1]:{port6}" if caller == "ipv6" else "{}:{}".format(*exchange.gateway.sip)
    heard = tmp_path / "heard.wav"
    command = [str(Path(sys.executable).with_name("voice-gateway")), "call", f"sip:{line.number}@{where}"]
    done = subprocess.run(
        [*command, "--record", str(heard), "--duration", "4"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with wave.open(str(heard)) as file:
        samples = memoryview(file.readframes(file.getnframes())).cast("h")
    assert max(samples) > LOUD, f"silence\n{done.stdout}"
    wait_until(lambda: exchange.gateway.metric("gateway_calls_active") == 0, "the call is over")
    assert exchange.gateway.metric("gateway_calls_total", outcome="agent") >= 1

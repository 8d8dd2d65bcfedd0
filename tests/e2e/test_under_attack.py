"""Attackers that we did not write, and a flood: they learn nothing, and carriers' calls go on.

The attackers come from 127.0.0.1, which this gateway does not admit; carriers have their usual addresses. Only the
share of calls that succeed is looked at, never their time: `loadtests/flood.py` measures that.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e import carriers
from tests.e2e.exchange import Exchange
from tests.e2e.gateway_process import GatewayProcess
from tests.e2e.sipp import Sipp, require

pytestmark = pytest.mark.e2e

SOURCE = Path(__file__).parents[2] / "loadtests" / "flood_source.py"
RATE = 1_000  # requests a second: several times what the calls beside it are, and little for a busy machine
SECONDS = 5

CARRIERS_ONLY = f"""\
[[trunk]]
name = "twilio"
sources = ["{carriers.TWILIO_HOST}/32"]
development = true
"""


@pytest.fixture(scope="module", params=[False, True], ids=["silent", "403"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """A gateway that does not know 127.0.0.1, with and without `admission.reject_unknown`."""
    directory = tmp_path_factory.mktemp("guarded")
    (directory / "only.toml").write_text(CARRIERS_ONLY)
    exchange = Exchange(
        directory,
        admission={"carriers_files": [str(directory / "only.toml")], "reject_unknown": request.param},
    )
    with exchange.gateway:
        yield exchange


@contextlib.contextmanager
def calls_beside(exchange: Exchange, directory: Path, calls: int = 20) -> Iterator[None]:
    """Carrier's calls all through the block; each of them must be answered and end in good order."""
    with Sipp(directory, "agent_answers", calls=calls, seconds=120, ring=50) as agent:
        line = exchange.line(agent.uri)
        with Sipp(
            directory,
            "carrier_twilio",
            host=carriers.TWILIO_HOST,
            remote=exchange.gateway.sip,
            calls=calls,
            arguments=("-s", line.number, "-r", "4"),
            talk=200,
        ) as carrier:
            yield
            carrier.succeed()


def refused_or_ignored(gateway: GatewayProcess) -> float:
    return gateway.metric("gateway_sip_dropped_total", reason="unknown_source")


def run(*command: str) -> str:
    """What an attacker has to say, within its patience and ours."""
    done = subprocess.run(["timeout", "15", *command], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_attackers_learn_nothing_and_calls_go_on(guarded: Exchange, tmp_path: Path) -> None:
    gateway = guarded.gateway
    host, port = gateway.sip
    for program in ("sipsak", "svmap", "svwar", "svcrack"):
        require(program)
    dropped = refused_or_ignored(gateway)
    with calls_beside(guarded, tmp_path):
        commands = {
            "options": ("sipsak", "-vv", "-Z", "20", "-s", f"sip:+14155550100@{host}:{port}"),
            "invite": ("sipsak", "-vv", "-Z", "20", "-M", "-B", "x", "-s", f"sip:100@{host}:{port}"),
            "map": ("svmap", "-p", str(port), host),
            "war": ("svwar", "--force", "-m", "INVITE", "-e", "100-110", "-p", str(port), host),
            "war register": ("svwar", "--force", "-m", "REGISTER", "-e", "100-105", "-p", str(port), host),
            "crack": ("svcrack", "-u", "100", "-r", "1-5", "-p", str(port), host),
        }
        with ThreadPoolExecutor(len(commands)) as attackers:  # all they do is wait for answers
            told = dict(
                zip(commands, attackers.map(lambda command: run(*command), commands.values()), strict=True)
            )
    assert refused_or_ignored(gateway) > dropped
    for what, text in told.items():
        assert "voice-gateway" not in text, (what, text)
        assert "200" not in [line.split()[1] for line in text.splitlines() if line.startswith("SIP/2.0 ")], (
            what
        )
        assert "reqauth" not in text, (what, text)
        assert "The password" not in text, (what, text)


@pytest.mark.parametrize("sources", [1, 200], ids=["one", "many"])
def test_a_flood_of_strangers_costs_no_call(guarded: Exchange, tmp_path: Path, sources: int) -> None:
    host, port = guarded.gateway.sip
    dropped = refused_or_ignored(guarded.gateway)
    command = [sys.executable, str(SOURCE), host, str(port), "--from", "127.9.0.1", "--sources", str(sources)]
    command += ["--rate", str(RATE), "--seconds", str(SECONDS)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as flood,
        calls_beside(guarded, tmp_path),
    ):
        told, _ = flood.communicate(timeout=60)
    sent, answered = int(told.split()[0]), int(told.split()[2])
    assert refused_or_ignored(guarded.gateway) - dropped == sent  # each of them was read, and none was taken
    assert answered <= 100 * (SECONDS + 5)  # MAX_REFUSALS a second, and the burst
    if "403" not in guarded.gateway.get("/metrics")[1]:
        assert answered == 0

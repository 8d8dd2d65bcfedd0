"""The examples, run by the commands at their top, each answering a call."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import audio, carriers
from tests.e2e.carriers import Call, audio_offer
from tests.e2e.exchange import Exchange
from tests.e2e.gateway_process import wait_until
from tests.e2e.rtp import RtpPeer
from tests.e2e.sipp import free_port
from tests.e2e.wire import Peer

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def example(directory: Path, name: str, *, sip: bool = False) -> Iterator[int]:
    """An example that runs, from when it listens; its port."""
    port = free_port("127.0.0.1")
    with (directory / "example.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, ROOT / "examples" / name, f"127.0.0.1:{port}" if sip else str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
        )
    try:
        wait_until(lambda: listens(port), f"{name} listens", 30)  # SIP agents listen on TCP, too
        yield port
        assert process.poll() is None, (directory / "example.log").read_text()
        assert "Traceback" not in (directory / "example.log").read_text()
    finally:
        process.terminate()
        process.wait(10)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def talking(exchange: Exchange, url: str, **endpoint: Any) -> Iterator[RtpPeer]:
    """A call to that agent, whose caller says a tone for a second now and then."""
    with Peer(carriers.TWILIO_HOST) as carrier, RtpPeer() as caller:
        line = exchange.line(url, endpoint=endpoint)
        call = Call(carrier, exchange.gateway.sip, line.number, audio_offer(*caller.address))
        call.send()
        ok, dialog = call.answered()
        caller.connect(ok.rtp_address)
        yield caller
        dialog.hang_up()


def hears_itself(caller: RtpPeer, hertz: float) -> None:
    caller.say(audio.tone(hertz, 1.0))
    wait_until(
        lambda: any(
            audio.tone_share(caller.heard()[at : at + 4000], hertz) > 0.5
            for at in range(0, max(1, len(caller.heard()) - 4000), 2000)
        ),
        f"{hertz} Hz comes back",
        15,
    )


def test_the_echo_agent(exchange: Exchange, tmp_path: Path):
    with (
        example(tmp_path, "echo_agent.py") as port,
        talking(exchange, f"ws://127.0.0.1:{port}/ws") as caller,
    ):
        hears_itself(caller, 740)


def test_the_stand_in_for_openai_realtime(exchange: Exchange, tmp_path: Path):
    with (
        example(tmp_path, "openai_realtime_agent.py") as port,
        talking(exchange, f"ws://127.0.0.1:{port}/v1/realtime", protocol="openai-realtime") as caller,
    ):
        hears_itself(caller, 740)


def test_the_sip_agent(exchange: Exchange, tmp_path: Path):
    with (
        example(tmp_path, "sip_agent.py", sip=True) as port,
        talking(exchange, f"sip:bot@127.0.0.1:{port}") as caller,
    ):
        time.sleep(0.5)
        hears_itself(caller, 740)

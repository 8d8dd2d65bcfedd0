"""pipecat, as it comes: its parser and serializers understand every byte of ours, and its bots run unchanged."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
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
PIPECAT = ROOT / ".venv-pipecat" / "bin" / "python"
IMPORT_SECONDS = 60.0
"""pipecat takes seconds to be imported, and longer while the machine is busy."""

MOST = 0.9
"""Of the frames. Both ends are processes on a busy machine: what comes after its beat is concealed."""

TOKEN = "a token that the bot has"


@contextmanager
def running(directory: Path, script: str, *arguments: str, **environment: str) -> Iterator[int]:
    """A pipecat program, from when it listens; its port."""
    assert PIPECAT.exists(), "make setup-test makes an environment for pipecat"
    port = free_port("127.0.0.1")
    with (directory / "pipecat.log").open("wb") as log:
        process = subprocess.Popen(
            [PIPECAT, ROOT / script, str(port), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
        )
    try:
        wait_until(lambda: listens(port) or process.poll() is not None, "pipecat listens", IMPORT_SECONDS)
        assert process.poll() is None, (directory / "pipecat.log").read_text()
        yield port
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def speech() -> audio.Samples:
    """A second and a half that no other place of it resembles."""
    rng = np.random.default_rng(4733)
    return rng.integers(-9000, 9000, 12_000).astype(np.int16)


@pytest.mark.parametrize(("protocol", "codec"), [("twilio", "PCMU"), ("telnyx", "PCMU"), ("telnyx", "PCMA")])
def test_serializers_and_parser(exchange: Exchange, tmp_path: Path, protocol: str, codec: str):
    told = tmp_path / "told.json"
    endpoint = {"protocol": protocol}
    if protocol == "telnyx":
        endpoint["options"] = {"encoding": codec}
    with (
        running(tmp_path, "tests/e2e/pipecat_peer.py", str(told)) as port,
        Peer(carriers.TWILIO_HOST) as carrier,
        RtpPeer(codec=codec) as caller,
    ):
        line = exchange.line(f"ws://127.0.0.1:{port}/ws", endpoint=endpoint)
        offer = audio_offer(*caller.address, formats=f"{caller.payload_type} 101")
        call = Call(carrier, exchange.gateway.sip, line.number, offer)
        call.send()
        ok, dialog = call.answered()
        caller.say(speech())
        caller.connect(ok.rtp_address)
        caller.wait_for_packets(150)
        caller.press("5")
        time.sleep(0.3)
        dialog.hang_up()
        wait_until(told.exists, "the agent has written down what it heard")
    found = json.loads(told.read_text())
    assert found["kind"] == protocol and found["keys"] == "5"
    assert found["call"]["from_number" if "from_number" in found["call"] else "from"] == carriers.CALLER
    assert found["call"]["to_number" if "to_number" in found["call"] else "to"] == line.number
    coded = audio.decode(audio.encode(speech(), codec), codec)
    heard = np.frombuffer(base64.b64decode(found["audio"]), np.int16)
    assert exact_share(heard, coded) > MOST, "the agent heard the caller, after G.711's own loss alone"
    echoed = caller.heard()
    again = audio.decode(audio.encode(coded, codec), codec)
    assert exact_share(echoed, again) > MOST, "and the caller heard the agent"


def exact_share(signal: audio.Samples, wanted: audio.Samples) -> float:
    """How many frames of the one are in the other, each sample of them, in their order."""
    frames = [
        wanted[at : at + audio.FRAME].astype("<i2").tobytes() for at in range(0, len(wanted), audio.FRAME)
    ]
    within, at, found = signal.astype("<i2").tobytes(), 0, 0
    for frame in frames:
        place = within.find(frame, at)
        if place >= 0:
            at, found = place + len(frame), found + 1
    return found / len(frames)


def test_the_example_bot_echoes_and_hangs_up_by_twilios_request(exchange: Exchange, tmp_path: Path):
    root = "http://{}:{}".format(*exchange.gateway.http)
    with (
        running(tmp_path, "examples/pipecat_agent.py", TWILIO_AUTH_TOKEN=TOKEN, GATEWAY=root) as port,
        Peer(carriers.TWILIO_HOST) as carrier,
        RtpPeer() as caller,
    ):
        line = exchange.line(f"ws://127.0.0.1:{port}/ws", endpoint={"auth_token": TOKEN})
        call = Call(carrier, exchange.gateway.sip, line.number, audio_offer(*caller.address))
        call.send()
        ok, dialog = call.answered()
        caller.say(audio.tone(740, 2.0), forever=True)
        caller.connect(ok.rtp_address)
        wait_until(lambda: audio.tone_share(caller.heard()[-8000:], 740) > 0.5, "the bot's echo")
        caller.press("#")
        dialog.expect_bye()
    log = (tmp_path / "pipecat.log").read_text()
    assert "Failed to" not in log, log

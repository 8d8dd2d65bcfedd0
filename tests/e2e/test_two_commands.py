"""The README's promise, kept literally: clone, `make run`, call the demo number, Ctrl-C.

It installs a whole environment and takes ports 5060 and 8080, so it only runs when asked for:
``VOICE_GATEWAY_FRESH_CLONE=1 pytest tests/e2e/test_two_commands.py`` (``make test-fresh-clone``).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from tests.e2e import audio

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not os.environ.get("VOICE_GATEWAY_FRESH_CLONE"), reason="takes minutes and fixed ports"
    ),
]

ROOT = Path(__file__).parents[2]
DEMO = "sip:+14155550100@127.0.0.1:5060"
DOWN = "sip:+14155550199@127.0.0.1:5060"
SET_UP = 600  # seconds: the environment is installed from nothing
TONE = 770  # Hz; it must outlast the greeting, since the demo agent echoes after it


def _environment() -> dict[str, str]:
    """Ours without what belongs to this test run: the gateway refuses variables that it does not know."""
    ours = ("VIRTUAL_ENV", "VOICE_GATEWAY_")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours)}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh clone in which `make run` is running and has printed what to dial; Ctrl-C ends it."""
    directory = tmp_path_factory.mktemp("fresh") / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(directory)], check=True)
    log = directory.parent / "make.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "run"],
            cwd=directory,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that one signal reaches all of it, as Ctrl-C does
        )
    try:
        deadline = time.monotonic() + SET_UP
        while DEMO not in log.read_text():
            assert process.poll() is None, f"`make run` ended\n{log.read_text()}"
            assert time.monotonic() < deadline, f"`make run` is not ready\n{log.read_text()}"
            time.sleep(0.5)
        yield directory
        os.killpg(process.pid, signal.SIGINT)
        process.wait(20)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert "Traceback" not in log.read_text(), log.read_text()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 5060))  # released


def _call(clone: Path, uri: str, *arguments: str) -> audio.Samples:
    """Place a call from the clone's command line; what it recorded."""
    heard = clone / "heard.wav"
    command = [str(clone / ".venv/bin/voice-gateway"), "call", uri, "--record", str(heard), *arguments]
    result = subprocess.run(
        command, cwd=clone, env=_environment(), capture_output=True, text=True, timeout=90
    )
    assert result.returncode == 0, result.stdout + result.stderr
    samples, rate = soundfile.read(heard, dtype="int16")
    assert rate == audio.RATE
    return samples


def test_the_demo_agent_greets_and_echoes(clone: Path):
    hello = clone / "hello.wav"
    soundfile.write(hello, audio.tone(TONE, 9), audio.RATE, subtype="PCM_16")
    heard = _call(clone, DEMO, "--play", str(hello))
    assert abs(heard.astype(int)).max() > 1000
    windows = [heard[i : i + 1600] for i in range(0, len(heard) - 1600, 1600)]
    assert any(audio.tone_share(window, TONE) > 0.8 for window in windows)


def test_the_number_whose_agents_are_down_goes_to_voicemail(clone: Path):
    heard = _call(clone, DOWN)
    assert abs(heard.astype(int)).max() > 1000

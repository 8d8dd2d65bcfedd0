"""What a newcomer does: start the demo, call it, hear the greeting and one's own voice, press Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.e2e import audio

COMMAND = Path(sys.executable).with_name("voice-gateway")
READY_SECONDS = 60
CALL_SECONDS = 60
TONE = 770
DEMO_NUMBERS = """\
[[agents]]
id = "agt_demo"
endpoints = [{{ url = "sip:demo@{demo}" }}]

[[numbers]]
phone_number = "+14155550100"
inbound_routing = {{ agent_id = "agt_demo" }}
"""


def free_address() -> str:
    """A loopback address whose port was free for UDP a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Demo:
    """`voice-gateway serve --demo` on ports of its own."""

    def __init__(self, directory: Path) -> None:
        self.sip, self.agent = free_address(), free_address()
        (directory / "carriers.toml").write_text(
            '[[trunk]]\nname = "loopback"\nsources = ["127.0.0.0/8"]\ndevelopment = true\n'
        )
        (directory / "numbers.toml").write_text(DEMO_NUMBERS.format(demo=self.agent))
        (directory / "demo.toml").write_text(
            f'[sip]\nlisten = ["{self.sip}"]\nagent_listen = ["127.0.0.1:0"]\n'
            f'[web]\nlisten = "127.0.0.1:0"\n[media]\nbind = "127.0.0.1"\n[demo]\nlisten = "{self.agent}"\n'
            '[admission]\ncarriers_files = ["carriers.toml"]\n[routing]\nnumbers_file = "numbers.toml"\n'
        )
        self.directory = directory
        self.out = directory / "out.log"
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [COMMAND, "serve", "--demo", "--config", "demo.toml"],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while "voice-gateway is ready" not in self.out.read_text():
            assert self.process.poll() is None, self.out.read_text()
            assert time.monotonic() < deadline, self.out.read_text()
            time.sleep(0.05)

    def command(self, *arguments: str) -> list[str]:
        return [str(COMMAND), "call", f"sip:+14155550100@{self.sip}", *arguments]

    def interrupt(self) -> None:
        """Ctrl-C, and a clean end."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0, self.out.read_text()
        assert "Traceback" not in self.out.read_text()


def active_legs(demo: Demo) -> float:
    """Agents' legs that are up, from the metrics whose address the demo has printed."""
    address = re.search(r"http://\S+/metrics", demo.out.read_text())
    assert address is not None
    with urllib.request.urlopen(address[0], timeout=5) as answer:
        text = answer.read().decode()
    sample = re.search(r'^gateway_calls_active\{leg="agent"\} (\S+)$', text, re.MULTILINE)
    assert sample is not None
    return float(sample[1])


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("demo"))
    try:
        demo.until_ready()
        yield demo
        demo.interrupt()
    finally:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait()


def test_it_says_what_to_dial_and_where_to_look(demo: Demo) -> None:
    text = demo.out.read_text()
    assert f"sip:+14155550100@{demo.sip}" in text
    assert "/metrics" in text and "/readyz" in text and "Ctrl-C" in text


def test_a_call_hears_the_greeting_and_then_itself(demo: Demo, tmp_path: Path) -> None:
    hello, heard = tmp_path / "hello at 44100.wav", tmp_path / "heard.wav"
    rate = 44_100  # any rate will do
    moments = np.arange(8 * rate) / rate
    soundfile.write(hello, np.sin(2 * np.pi * TONE * moments) * 0.3, rate)
    result = subprocess.run(
        demo.command("--play", str(hello), "--record", str(heard), "--duration", "9"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=CALL_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for message in ("INVITE", "100 Trying", "180 Ringing", "200 OK", "ACK", "BYE"):
        assert message in result.stdout, result.stdout
    assert "INVITE→100" in result.stdout and "INVITE→200" in result.stdout
    assert "answered, PCMU; ended by us" in result.stdout
    samples, recorded_rate = soundfile.read(heard, dtype="int16")
    assert recorded_rate == audio.RATE
    windows = [samples[start : start + 1600] for start in range(0, len(samples) - 1600, 1600)]
    shares = [audio.tone_share(window, TONE) for window in windows]
    spoken = next(index for index, window in enumerate(windows) if abs(window.astype(int)).max() > 1000)
    echoed = next(index for index, share in enumerate(shares) if share > 0.8)
    assert spoken < echoed, "the greeting comes first"


def test_interrupting_a_call_hangs_up(demo: Demo, tmp_path: Path) -> None:
    caller = subprocess.Popen(
        demo.command("--record", "heard.wav", "--duration", "600"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ended = demo.out.read_text().count("call ended")
    deadline = time.monotonic() + CALL_SECONDS
    while not active_legs(demo):
        assert caller.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)  # to hear something
    caller.send_signal(signal.SIGINT)
    out, errors = caller.communicate(timeout=CALL_SECONDS)
    assert caller.returncode == 0, out + errors
    assert "Traceback" not in errors
    assert "BYE" in out and "200 OK (BYE)" in out
    assert (tmp_path / "heard.wav").stat().st_size > 44
    while demo.out.read_text().count("call ended") == ended:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_number_that_nobody_has_is_refused_with_its_reason(demo: Demo, tmp_path: Path) -> None:
    result = subprocess.run(
        [COMMAND, "call", f"sip:+14155550177@{demo.sip}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=CALL_SECONDS,
        check=False,
    )
    assert result.returncode == 1
    assert 'result     404 Not Found — SIP;cause=404;text="number not known"' in result.stdout


def test_a_second_demo_is_refused_in_one_line(demo: Demo) -> None:
    result = subprocess.run(
        [COMMAND, "serve", "--demo", "--config", "demo.toml"],
        cwd=demo.directory,
        env={**os.environ, "VOICE_GATEWAY_DATA__DIR": "elsewhere"},
        capture_output=True,
        text=True,
        timeout=READY_SECONDS,
        check=False,
    )
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith(f"voice-gateway: demo.listen: UDP {demo.agent} is taken")

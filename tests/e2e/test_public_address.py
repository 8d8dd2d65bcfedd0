"""A gateway behind NAT that asks for its address, and says it to carriers in Contact and SDP."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import carriers
from tests.e2e.carriers import Call, audio_offer
from tests.e2e.exchange import Exchange
from tests.e2e.rtp import RtpPeer
from tests.e2e.sipp import free_port
from tests.e2e.wire import Peer

pytestmark = pytest.mark.e2e

PUBLIC = "203.0.113.5"


@pytest.fixture
def stun() -> Iterator[str]:
    """A STUN server on the other side of a NAT, which nobody has in a test: it says what one would say there."""
    masked = bytes(a ^ b for a, b in zip(socket.inet_aton(PUBLIC), b"\x21\x12\xa4\x42", strict=True))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            question, source = server.recvfrom(2048)
            head = b"\x01\x01\x00\x0c\x21\x12\xa4\x42" + question[8:20]
            server.sendto(head + b"\x00\x20\x00\x08\x00\x01\x12\x34" + masked, source)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"stun:127.0.0.1:{server.getsockname()[1]}"
        thread.join(5)


def test_carriers_are_told_the_address_that_was_found(tmp_path: Path, stun: str):
    exchange = Exchange(tmp_path, sip={"discover_host": stun}, drain={"timeout": 0})
    with exchange.gateway, Peer(carriers.TWILIO_HOST) as carrier, RtpPeer() as sound:
        line = exchange.line(None, voicemail_message="Speak.")
        call = Call(carrier, exchange.gateway.sip, line.number, audio_offer(*sound.address))
        call.send()
        ok = carrier.receive_final(10)  # an ACK would go to that address
        assert f"{PUBLIC}:{exchange.gateway.sip[1]}" in ok["contact"]
        assert f"c=IN IP4 {PUBLIC}".encode() in ok.body


def test_without_an_answer_it_does_not_start_and_says_what_to_do(tmp_path: Path):
    program = Path(sys.executable).with_name("voice-gateway")
    (tmp_path / "gateway.toml").write_text(
        f'[sip]\nlisten = ["127.0.0.1:{free_port("127.0.0.1")}"]\n'
        f'discover_host = "stun:127.0.0.1:{free_port("127.0.0.1")}"\n'
    )
    run = subprocess.run(
        [program, "serve", "--config", "gateway.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 1
    assert "sip.discover_host: stun:127.0.0.1:" in run.stderr
    assert "write the address into sip.advertised_host" in run.stderr
    assert "Traceback" not in run.stderr

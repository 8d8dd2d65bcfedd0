"""baresip as the carrier and as the agent: two foreign stacks, real RTP through the relay, judged by tone."""

from __future__ import annotations

import time

import pytest

from tests.e2e import audio
from tests.e2e.baresip import Baresip
from tests.e2e.exchange import Exchange

pytestmark = pytest.mark.e2e

FREQUENCIES = range(400, 700, 20)


def _uri(exchange: Exchange, number: str, transport: str) -> str:
    host, port = exchange.gateway.sip
    return f"sip:{number}@{host}:{port};transport={transport}"


@pytest.mark.parametrize(("codec", "transport"), [("PCMU", "udp"), ("PCMA", "tcp")])
def test_both_ends_hear_each_other(exchange: Exchange, tmp_path, codec, transport):
    with Baresip(tmp_path / "agent", audio.tone(620, 15), codec=codec) as agent:
        line = exchange.line(f"{agent.uri};transport={transport}")
        dials = _uri(exchange, line.number, transport)
        with Baresip(tmp_path / "caller", audio.tone(440, 15), codec=codec, dials=dials) as caller:
            caller.wait_for("incoming rtp")
            agent.wait_for("incoming rtp")
            time.sleep(1)
            caller.hang_up()
            agent.wait_for("session closed")
            agent.hang_up()
            assert audio.loudest_tone(caller.heard(), FREQUENCIES) == 620
            assert audio.loudest_tone(agent.heard(), FREQUENCIES) == 440


def test_the_agent_hangs_up(exchange: Exchange, tmp_path):
    with Baresip(tmp_path / "agent", audio.tone(620, 15)) as agent:
        line = exchange.line(agent.uri)
        dials = _uri(exchange, line.number, "udp")
        with Baresip(tmp_path / "caller", audio.tone(440, 15), dials=dials) as caller:
            caller.wait_for("Call established")
            agent.hang_up()
            caller.wait_for("session closed")


def test_baresip_hears_the_voicemail(exchange: Exchange, tmp_path):
    line = exchange.line(None, voicemail_message="You have reached the voicemail of the third witness.")
    with Baresip(
        tmp_path / "caller", audio.tone(440, 15), dials=_uri(exchange, line.number, "udp")
    ) as caller:
        caller.wait_for("incoming rtp")
        time.sleep(1.5)
        caller.hang_up()
        heard = caller.heard()
        assert abs(heard.astype(int)).max() > 1000  # it speaks; what it says is test_voicemail.py's business

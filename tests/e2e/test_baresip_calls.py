"""baresip as the carrier and as the agent: two foreign stacks, real RTP through the relay, judged by tone."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.e2e import audio
from tests.e2e.baresip import Baresip, both_hear
from tests.e2e.exchange import Exchange
from tests.e2e.gateway_process import wait_until

pytestmark = pytest.mark.e2e


def _uri(exchange: Exchange, number: str, transport: str) -> str:
    host, port = exchange.gateway.sip
    return f"sip:{number}@{host}:{port};transport={transport}"


@pytest.mark.parametrize(("codec", "transport"), [("PCMU", "udp"), ("PCMA", "tcp")])
def test_both_ends_hear_each_other(exchange: Exchange, tmp_path, codec, transport):
    with Baresip(tmp_path / "agent", audio.tone(620, 15), codec=codec) as agent:
        line = exchange.line(f"{agent.uri};transport={transport}")
        dials = _uri(exchange, line.number, transport)
        with Baresip(tmp_path / "caller", audio.tone(440, 15), codec=codec, dials=dials) as caller:
            both_hear(caller, agent)


@pytest.mark.parametrize("codec", ["G722/16000/1", "L16/16000/1", "opus/48000/2"])
def test_an_agent_that_speaks_nothing_else_is_transcoded(exchange: Exchange, tmp_path, codec):
    with Baresip(tmp_path / "agent", audio.tone(620, 15), codec=codec) as agent:
        line = exchange.line(agent.uri)
        dials = _uri(exchange, line.number, "udp")
        with Baresip(tmp_path / "caller", audio.tone(440, 15), dials=dials) as caller:
            both_hear(caller, agent)
            assert audio.tone_share(caller.heard()[2000:-2000], 620) > 0.8


def test_reports_go_both_ways_and_stand_in_the_record(exchange: Exchange, tmp_path):
    """baresip reports every five seconds."""
    with Baresip(tmp_path / "agent", audio.tone(620, 15)) as agent:
        line = exchange.line(agent.uri)
        with Baresip(
            tmp_path / "caller", audio.tone(440, 15), dials=_uri(exchange, line.number, "udp")
        ) as caller:
            caller.wait_for("incoming rtp")
            time.sleep(6)
            caller.hang_up()
            agent.wait_for("session closed")

    def ended() -> list[dict[str, Any]]:
        lines = [each for each in exchange.gateway.log_lines() if each["event"] == "call ended"]
        return [each for each in lines if each["dialled"] == line.number]

    wait_until(lambda: bool(ended()), "the call's line")
    legs = {leg["leg"]: leg for leg in ended()[0]["legs"]}
    assert list(legs) == [line.primary, "caller"]
    for leg in legs.values():
        assert leg["codec"] == "PCMU"
        assert leg["packets_in"] > 250
        assert leg["far_lost"] == leg["lost"] == 0
        assert leg["far_jitter_ms"] < 100
        assert 4 < leg["mos"] < 4.5


def test_the_agent_hangs_up(exchange: Exchange, tmp_path):
    with Baresip(tmp_path / "agent", audio.tone(620, 15)) as agent:
        line = exchange.line(agent.uri)
        dials = _uri(exchange, line.number, "udp")
        with Baresip(tmp_path / "caller", audio.tone(440, 15), dials=dials) as caller:
            caller.wait_for("Call established")
            agent.hang_up()
            caller.wait_for("session closed")


@pytest.mark.parametrize("codec", ["PCMU", "G722/16000/1"])
def test_baresip_hears_the_voicemail(exchange: Exchange, tmp_path, codec):
    line = exchange.line(None, voicemail_message="You have reached the voicemail of the third witness.")
    dials = _uri(exchange, line.number, "udp")
    with Baresip(tmp_path / "caller", audio.tone(440, 15), codec=codec, dials=dials) as caller:
        caller.wait_for("incoming rtp")
        time.sleep(1.5)
        caller.hang_up()
        heard = caller.heard()
        assert abs(heard.astype(int)).max() > 1000  # it speaks; what it says is test_voicemail.py's business

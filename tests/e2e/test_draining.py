"""SIGTERM: calls under way finish, new ones are sent elsewhere with 503, and then the process ends."""

from __future__ import annotations

import pytest

from tests.e2e import audio, carriers
from tests.e2e.carriers import Call, audio_offer
from tests.e2e.exchange import Exchange
from tests.e2e.gateway_process import wait_until
from tests.e2e.two_ends import TwoEnds
from tests.e2e.wire import Peer, new_branch, write

pytestmark = pytest.mark.e2e


def _options(peer: Peer, exchange: Exchange) -> int:
    headers = [
        ("Via", f"SIP/2.0/UDP {peer.hostport};branch={new_branch()}"),
        ("From", f"<sip:carrier@example.com>;tag={new_branch()}"),
        ("To", "<sip:voice.example.com>"),
        ("Call-ID", new_branch()),
        ("CSeq", "1 OPTIONS"),
        ("Max-Forwards", "70"),
    ]
    host, port = exchange.gateway.sip
    peer.send(write(f"OPTIONS sip:{host}:{port} SIP/2.0", headers), exchange.gateway.sip)
    return peer.receive_final().status


def test_a_call_under_way_finishes_while_new_ones_are_refused(tmp_path):
    exchange = Exchange(tmp_path)
    with exchange.gateway as gateway, Peer(carriers.TWILIO_HOST) as late:
        with TwoEnds(exchange) as ends:
            caller, callee = ends.connect()
            assert _options(late, exchange) == 200
            gateway.terminate()
            wait_until(lambda: gateway.get("/readyz")[0] == 503, "/readyz says 503")
            assert gateway.get("/healthz")[0] == 200
            assert _options(late, exchange) == 503
            call = Call(late, gateway.sip, ends.line.number, audio_offer("127.0.0.1", 4000))
            call.send()
            refusal = call.refused()
            assert refusal.status == 503
            assert int(refusal["retry-after"].split()[0].split(";")[0]) > 0
            assert refusal["reason"]
            ends.agent_audio.say(audio.tone(620, 1), forever=True)
            ends.caller_audio.wait_for_packets(50)
            assert audio.tone_share(ends.caller_audio.heard()[-2000:], 620) > 0.9
            ends.hang_up(caller, callee)
        assert gateway.exit_code() == 0


def test_a_call_that_outlives_the_drain_is_ended_with_bye(tmp_path):
    exchange = Exchange(tmp_path, drain={"timeout": 1.0})
    with exchange.gateway as gateway, TwoEnds(exchange) as ends:
        caller, callee = ends.connect()
        gateway.terminate()
        caller.expect_bye(10)
        callee.expect_bye(10)
        assert gateway.exit_code() == 0

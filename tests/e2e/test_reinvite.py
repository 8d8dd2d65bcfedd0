"""Re-INVITEs from either end: hold, resume, a new media address; audio follows."""

from __future__ import annotations

import time

import pytest

from tests.e2e import audio, carriers
from tests.e2e.carriers import audio_offer
from tests.e2e.exchange import Exchange
from tests.e2e.rtp import RtpPeer
from tests.e2e.sipp import Sipp
from tests.e2e.two_ends import TwoEnds
from tests.e2e.wire import Dialog, Message, Peer

pytestmark = pytest.mark.e2e

FREQUENCIES = range(400, 1000, 20)


def _renegotiate(sender: Dialog, offer: str, other: Peer, other_answer: str) -> Message:
    """Send a re-INVITE; the far end answers it if the gateway passes it on; the 200, acknowledged."""
    sender.send("INVITE", body=offer)
    if (passed_on := other.poll("INVITE", 0.5)) is not None:
        contact = [("Contact", f"<sip:{other.hostport}>")]
        other.respond(passed_on, 200, "OK", headers=contact, body=other_answer)
        other.receive("ACK")
    ok = sender.peer.receive_final()
    assert ok.status == 200, ok
    sender.ack(ok)
    return ok


def _hears(ear: RtpPeer, hertz: int) -> bool:
    """Whether what arrives within the next half second is that tone."""
    now = time.monotonic()
    time.sleep(0.5)
    return audio.tone_share(ear.heard(now + 0.1), hertz) > 0.9


def test_sipp_holds_and_resumes(exchange: Exchange, tmp_path):
    with Sipp(tmp_path, "agent_accepts_reinvites") as agent:
        line = exchange.line(agent.uri)
        with Sipp(
            tmp_path,
            "carrier_holds",
            host=carriers.TWILIO_HOST,
            remote=exchange.gateway.sip,
            arguments=("-s", line.number),
            talk=200,
        ) as carrier:
            carrier.succeed()
        agent.succeed()


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
@pytest.mark.parametrize("holder", ["carrier", "agent"])
def test_hold_and_resume(exchange: Exchange, holder, direction):
    with TwoEnds(exchange) as ends:
        caller, callee = ends.connect()
        ends.caller_audio.say(audio.tone(440, 1), forever=True)
        ends.agent_audio.say(audio.tone(620, 1), forever=True)
        ends.caller_audio.wait_for_packets(10)
        mine, far = (caller, ends.agent) if holder == "carrier" else (callee, ends.carrier)
        here, there = (
            (ends.caller_audio, ends.agent_audio)
            if holder == "carrier"
            else (ends.agent_audio, ends.caller_audio)
        )
        mirrored = {"sendonly": "recvonly", "inactive": "inactive"}[direction]
        held = _renegotiate(
            mine,
            audio_offer(*here.address, formats="0 101", direction=direction, version=2),
            far,
            audio_offer(*there.address, formats="0 101", direction=mirrored, version=2),
        )
        assert f"a={mirrored}" in held.body.decode()  # RFC 3264 §6.1: never sendrecv to a hold
        resumed = _renegotiate(
            mine,
            audio_offer(*here.address, formats="0 101", version=3),
            far,
            audio_offer(*there.address, formats="0 101", version=3),
        )
        assert "a=sendonly" not in resumed.body.decode()
        assert "a=inactive" not in resumed.body.decode()
        assert _hears(ends.caller_audio, 620)
        assert _hears(ends.agent_audio, 440)
        ends.hang_up(caller, callee)


@pytest.mark.parametrize("mover", ["carrier", "agent"])
def test_a_new_media_address(exchange: Exchange, mover):
    with TwoEnds(exchange) as ends, RtpPeer() as elsewhere:
        caller, callee = ends.connect()
        ends.caller_audio.say(audio.tone(440, 1), forever=True)
        ends.agent_audio.say(audio.tone(620, 1), forever=True)
        mine, far, there = (
            (caller, ends.agent, ends.agent_audio)
            if mover == "carrier"
            else (callee, ends.carrier, ends.caller_audio)
        )
        ok = _renegotiate(
            mine,
            audio_offer(*elsewhere.address, formats="0 101", version=2),
            far,
            audio_offer(*there.address, formats="0 101", version=2),
        )
        (ends.caller_audio if mover == "carrier" else ends.agent_audio).mute()
        elsewhere.connect(ok.rtp_address)
        elsewhere.say(audio.tone(880, 1), forever=True)
        assert _hears(elsewhere, 620 if mover == "carrier" else 440)
        assert _hears(there, 880)
        ends.hang_up(caller, callee)


def test_a_reinvite_without_an_offer_is_answered_with_one(exchange: Exchange):
    with TwoEnds(exchange) as ends:
        caller, callee = ends.connect()
        caller.send("INVITE")
        if (passed_on := ends.agent.poll("INVITE", 0.5)) is not None:
            contact = [("Contact", f"<sip:{ends.agent.hostport}>")]
            ends.agent.respond(passed_on, 200, "OK", headers=contact, body=ends.agent_answer)
        ok = ends.carrier.receive_final()
        assert ok.status == 200
        assert ok.rtp_address[1] > 0
        caller.ack(ok, ends.call.sdp)
        if passed_on is not None:
            ends.agent.receive("ACK")
        ends.agent_audio.say(audio.tone(620, 1), forever=True)
        assert _hears(ends.caller_audio, 620)
        ends.hang_up(caller, callee)


def test_video_is_declined_and_audio_goes_on(exchange: Exchange):
    with TwoEnds(exchange) as ends:
        caller, callee = ends.connect()
        offer = audio_offer(*ends.caller_audio.address, formats="0 101", version=2)
        offer += "m=video 5006 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
        answer = audio_offer(*ends.agent_audio.address, formats="0 101", version=2)
        ok = _renegotiate(caller, offer, ends.agent, answer + "m=video 0 RTP/AVP 96\r\n")
        assert "m=video 0 " in ok.body.decode()
        ends.agent_audio.say(audio.tone(620, 1), forever=True)
        assert _hears(ends.caller_audio, 620)
        ends.hang_up(caller, callee)

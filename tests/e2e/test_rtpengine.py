"""Calls to SIP agents whose audio rtpengine relays: the real daemon beside the gateway as operators run it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import audio, carriers
from tests.e2e.exchange import Exchange
from tests.e2e.gateway_process import wait_until
from tests.e2e.two_ends import TwoEnds
from tests.e2e.wire import Dialog, Message
from tests.rtpengine import RtpEngineDaemon

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtpEngineDaemon]:
    with RtpEngineDaemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory, daemon: RtpEngineDaemon) -> Iterator[Exchange]:
    """An agent may be silent for two seconds, which is noticed within seven."""
    media = {"engine": "rtpengine", "rtpengine": [daemon.name], "agent_silence_timeout": 2.0}
    exchange = Exchange(tmp_path_factory.mktemp("relayed"), media=media)
    with exchange.gateway as gateway:
        yield exchange
        wait_until(lambda: gateway.metric("gateway_calls_active") == 0, "no call is left")


def test_both_hear_each_other_by_way_of_its_ports_through_a_hold_and_a_key(
    relayed: Exchange, daemon: RtpEngineDaemon
):
    with TwoEnds(relayed) as ends:
        caller, callee = ends.connect()
        low, high = daemon.ports
        for end in (ends.caller_audio, ends.agent_audio):
            assert end._remote is not None and low <= end._remote[1] <= high
        ends.caller_audio.say(audio.tone(440, 1), forever=True)
        ends.agent_audio.say(audio.tone(880, 1), forever=True)
        ends.caller_audio.wait_for_packets(40)
        ends.agent_audio.wait_for_packets(40)
        ends.caller_audio.press("7")
        wait_until(lambda: ends.agent_audio.digits() == "7", "the key arrives")
        ports = ends.caller_audio._remote, ends.agent_audio._remote
        for direction in ("sendonly", "sendrecv"):
            offer = carriers.audio_offer(
                *ends.caller_audio.address,
                formats="0 101",
                direction=direction,
                version=2 if direction == "sendonly" else 3,
            )
            ok = _reinvited(ends, caller, offer)
            assert ok.rtp_address == ports[0]
        heard = len(ends.caller_audio.received)
        ends.caller_audio.wait_for_packets(heard + 20)
        assert audio.tone_share(ends.caller_audio.heard()[-2000:], 880) > 0.9
        assert audio.tone_share(ends.agent_audio.heard()[-2000:], 440) > 0.9
        assert relayed.gateway.metric("gateway_rtpengine_calls", relay=daemon.name) == 1
        before = relayed.gateway.metric("gateway_rtp_packets_total", direction="in") or 0
        ends.hang_up(caller, callee)
        wait_until(
            lambda: relayed.gateway.metric("gateway_rtpengine_calls", relay=daemon.name) == 0, "given back"
        )
        assert relayed.gateway.metric("gateway_rtp_packets_total", direction="in") > before + 80
        wait_until(lambda: bool(ended_calls(relayed)), "its line is written")
        ended = ended_calls(relayed)[-1]
        legs = {leg["leg"]: leg for leg in ended["legs"]}
        assert legs["caller"]["packets_in"] > 40 and legs[ends.line.primary]["packets_in"] > 40
        assert legs["caller"].get("mos") is None  # nobody reported any loss, and none was counted


def ended_calls(relayed: Exchange) -> list[dict[str, Any]]:
    """What the log tells of calls that are over; it is written a moment after they are."""
    return [line for line in relayed.gateway.log_lines() if line.get("event") == "call ended"]


def test_an_agent_that_falls_silent_leaves_its_caller_to_voicemail_at_our_own_port(
    relayed: Exchange, daemon: RtpEngineDaemon
):
    with TwoEnds(relayed, voicemail_message="Nobody is here.") as ends:
        caller, callee = ends.connect()
        ends.caller_audio.say(audio.tone(440, 1), forever=True)
        ends.agent_audio.say(audio.tone(620, 1), forever=True)
        ends.caller_audio.wait_for_packets(20)
        ends.agent_audio.mute()
        reinvite = ends.carrier.receive("INVITE")
        low, high = daemon.ports
        assert not low <= reinvite.rtp_address[1] <= high
        answer = carriers.audio_offer(*ends.caller_audio.address, formats="0 101")
        ends.carrier.respond(reinvite, 200, "OK", headers=[("Contact", ends.call.contact)], body=answer)
        ends.carrier.receive("ACK")
        callee.expect_bye()
        ends.caller_audio.connect(reinvite.rtp_address)
        heard = len(ends.caller_audio.received)
        ends.caller_audio.wait_for_packets(heard + 30)
        caller.hang_up()
    labels = {"carrier": "twilio", "outcome": "voicemail_rescued"}
    wait_until(lambda: relayed.gateway.metric("gateway_calls_total", **labels) == 1, "the rescue is counted")


def test_without_it_we_relay_ourselves(relayed: Exchange, daemon: RtpEngineDaemon):
    daemon.kill()
    try:
        with TwoEnds(relayed) as ends:
            caller, callee = ends.connect()
            assert ends.caller_audio._remote is not None and ends.caller_audio._remote[1] < daemon.ports[0]
            ends.caller_audio.say(audio.tone(440, 1), forever=True)
            ends.agent_audio.wait_for_packets(20)
            ends.hang_up(caller, callee)
        assert relayed.gateway.metric("gateway_rtpengine_fallbacks_total") == 1
        wait_until(
            lambda: relayed.gateway.metric("gateway_rtpengine_up", relay=daemon.name) == 0, "it is down"
        )
    finally:
        daemon.start()
    wait_until(
        lambda: relayed.gateway.metric("gateway_rtpengine_up", relay=daemon.name) == 1, "it is back", 15
    )


def _reinvited(ends: TwoEnds, caller: Dialog, offer: str) -> Message:
    """The carrier changes the session; the agent agrees; the carrier's 200."""
    caller.send("INVITE", body=offer)
    carried = ends.agent.receive("INVITE")
    assert carried.rtp_address == ends.agent_audio._remote
    direction = "recvonly" if "sendonly" in offer else "sendrecv"
    answer = carriers.audio_offer(*ends.agent_audio.address, formats="0 101", direction=direction)
    ends.agent.respond(carried, 200, "OK", headers=[ends.agent_contact], body=answer)
    ends.agent.receive("ACK")
    ok = ends.carrier.receive_final()
    assert ok.status == 200
    caller.ack(ok)
    return ok

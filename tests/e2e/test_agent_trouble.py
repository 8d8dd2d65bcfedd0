"""Agents in trouble: silent to probes, failing again and again, full, or gone in the middle of a call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import audio, carriers
from tests.e2e.baresip import Baresip
from tests.e2e.carriers import Call
from tests.e2e.exchange import Exchange
from tests.e2e.gateway_process import wait_until
from tests.e2e.rtp import RtpPeer
from tests.e2e.two_ends import AGENT_TAG, TwoEnds
from tests.e2e.wire import Dialog, Peer

pytestmark = pytest.mark.e2e

FAILURES_TO_OPEN = 2


def _running(exchange: Exchange) -> Iterator[Exchange]:
    """A gateway of the test's own, which must hold no call when the test ends."""
    with exchange.gateway as gateway:
        yield exchange
        wait_until(lambda: gateway.metric("gateway_calls_active") == 0, "no call is left")


@pytest.fixture
def unprobed(tmp_path) -> Iterator[Exchange]:
    """Agents are not asked; only calls tell how they are. An agent may be silent for a second."""
    settings = {"probe_interval": 3600.0, "failures_to_open": FAILURES_TO_OPEN}
    yield from _running(Exchange(tmp_path, agents=settings, media={"agent_silence_timeout": 1.0}))


@pytest.fixture
def probed(tmp_path) -> Iterator[Exchange]:
    """Agents are asked every second."""
    settings = {"probe_interval": 1.0, "failures_to_open": FAILURES_TO_OPEN}
    yield from _running(Exchange(tmp_path, agents=settings))


def _again(ends: TwoEnds) -> Call:
    """Another call to the same number, sent."""
    call = Call(ends.carrier, ends.exchange.gateway.sip, ends.line.number, ends.call.sdp)
    call.send()
    return call


def test_failures_in_a_row_open_the_circuit_and_the_next_caller_waits_for_nobody(unprobed: Exchange):
    with TwoEnds(unprobed, voicemail=False) as ends:
        ends.call.send()
        for attempt in range(FAILURES_TO_OPEN):
            call = ends.call if attempt == 0 else _again(ends)
            invite = ends.agent.receive("INVITE")
            ends.agent.respond(invite, 503, "Service Unavailable", tag=AGENT_TAG)
            ends.agent.receive("ACK")
            assert call.refused().status == 480
        up = unprobed.gateway.metric("gateway_agent_endpoint_up", agent=ends.line.primary)
        assert up == 0
        assert _again(ends).refused().status == 480
        ends.agent.receive_nothing(0.2)


def test_an_agent_silent_to_options_is_passed_over_until_it_answers_again(probed: Exchange):
    def up() -> bool:
        return probed.gateway.metric("gateway_agent_endpoint_up", agent=ends.line.primary) == 1

    with TwoEnds(probed, voicemail=False) as ends:
        ends.agent.answer_options = False
        wait_until(lambda: not up(), "the endpoint is known to be down")
        assert _again(ends).refused().status == 480
        ends.agent.answer_options = True
        wait_until(lambda: ends.agent.poll("INVITE", 0.1) is None and up(), "the endpoint is back")
        caller, callee = ends.connect()
        ends.hang_up(caller, callee)


def test_a_full_agent_leaves_the_call_to_the_fallback(unprobed: Exchange):
    with (
        Peer() as second,
        TwoEnds(unprobed, fallback=f"sip:agent@{second.hostport}", max_calls=1, voicemail=False) as ends,
    ):
        caller, callee = ends.connect()
        ends.agent_audio.say(audio.tone(620, 1), forever=True)
        other = _again(ends)
        invite = second.receive("INVITE")
        assert invite["x-agent-id"] == ends.line.fallback
        second.respond(invite, 486, "Busy Here", tag="second")
        second.receive("ACK")
        assert other.refused().status == 480
        ends.agent.receive_nothing(0.1)
        ends.hang_up(caller, callee)
        third = _again(ends)  # there is room again
        again = ends.agent.receive("INVITE")
        ends.agent.respond(again, 486, "Busy Here", tag=AGENT_TAG)
        ends.agent.receive("ACK")
        retry = second.receive("INVITE")
        second.respond(retry, 486, "Busy Here", tag="second")
        second.receive("ACK")
        assert third.refused().status == 480


@pytest.mark.parametrize("codec", ["L16/16000/1", "G722/16000/1"])
def test_a_rescue_to_an_agent_of_another_codec_leaves_the_caller_as_it_was(
    unprobed: Exchange, tmp_path, codec
):
    with (
        Baresip(tmp_path / "fallback", audio.tone(880, 15), codec=codec) as fallback,
        TwoEnds(unprobed, fallback=fallback.uri) as ends,
    ):
        caller, callee = ends.connect()
        ends.caller_audio.say(audio.tone(440, 1), forever=True)
        ends.agent_audio.say(audio.tone(620, 1), forever=True)
        ends.caller_audio.wait_for_packets(20)
        ends.agent_audio.mute()
        fallback.wait_for("incoming rtp")
        callee.expect_bye()
        ends.carrier.receive_nothing(0.5)  # no re-INVITE
        heard = len(ends.caller_audio.received)
        ends.caller_audio.wait_for_packets(heard + 30)
        assert {packet.payload_type for packet in ends.caller_audio.received} == {0}
        assert audio.tone_share(ends.caller_audio.heard()[-2000:], 880) > 0.9
        caller.hang_up()
        fallback.wait_for("session closed")
        fallback.hang_up()
        assert audio.tone_share(fallback.heard()[-6000:-2000], 440) > 0.9


def test_an_agent_that_falls_silent_is_replaced_and_the_caller_stays(unprobed: Exchange):
    labels = {"carrier": "twilio", "outcome": "fallback_rescued"}
    with (
        Peer() as second,
        RtpPeer() as second_audio,
        TwoEnds(unprobed, fallback=f"sip:agent@{second.hostport}") as ends,
    ):
        caller, callee = ends.connect()
        ends.caller_audio.say(audio.tone(440, 1), forever=True)
        ends.agent_audio.say(audio.tone(620, 1), forever=True)
        ends.caller_audio.wait_for_packets(20)
        ends.agent_audio.mute()  # it vanishes without a goodbye
        invite = second.receive("INVITE")
        answer = carriers.audio_offer(*second_audio.address, formats="0 101")
        contact = [("Contact", f"<sip:agent@{second.hostport}>")]
        second.respond(invite, 200, "OK", tag="second", headers=contact, body=answer)
        second.receive("ACK")
        callee.expect_bye()
        second_audio.connect(invite.rtp_address)
        second_audio.say(audio.tone(880, 1), forever=True)
        heard = len(ends.caller_audio.received)
        ends.caller_audio.wait_for_packets(heard + 30)
        assert audio.tone_share(ends.caller_audio.heard()[-2000:], 880) > 0.9
        caller.hang_up()
        Dialog.of_callee(second, invite, tag="second").expect_bye()
    wait_until(lambda: unprobed.gateway.metric("gateway_calls_total", **labels) == 1, "the rescue is counted")

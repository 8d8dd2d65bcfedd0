"""What the wire must hold, header by header, in a call that goes well; and how audio crosses the relay."""

from __future__ import annotations

import time

import pytest

from tests.e2e import audio, carriers
from tests.e2e.carriers import Call, TelnyxCall
from tests.e2e.exchange import Exchange
from tests.e2e.two_ends import AGENT_TAG, TwoEnds
from tests.e2e.wire import Dialog, tag_of

pytestmark = pytest.mark.e2e

DRESSES = [(Call, carriers.TWILIO_HOST), (TelnyxCall, carriers.TELNYX_HOST)]
FREQUENCIES = range(400, 1000, 20)


@pytest.mark.parametrize(("dress", "host"), DRESSES)
def test_the_agent_is_told_who_calls_and_the_carrier_gets_its_routes_back(exchange: Exchange, dress, host):
    with TwoEnds(exchange, dress=dress, host=host) as ends:
        invite = ends.ring()
        assert invite["x-agent-id"] == ends.line.primary
        assert invite["x-dialled-number"] == ends.line.number
        assert invite["x-call-id"]
        carrier_header = "x-twilio-callsid" if dress is Call else "x-telnyx-session-id"
        assert invite[carrier_header] == ends.call.carrier_call_id
        assert invite["call-id"] != ends.call.call_id
        assert not invite.all("record-route")
        ends.answer(invite)
        ok, caller = ends.call.answered()
        assert ok.all("record-route") == ends.call.record_routes
        assert "127.0.0.1" in ok.contact
        assert len(ok.all("via")) == len(invite.all("via")) + (1 if dress is Call else 2)
        ends.agent.receive("ACK")
        ends.hang_up(caller, Dialog.of_callee(ends.agent, invite, tag=AGENT_TAG))


@pytest.mark.parametrize(("dress", "host"), DRESSES)
def test_the_agents_goodbye_goes_along_the_carriers_route_set(exchange: Exchange, dress, host):
    with TwoEnds(exchange, dress=dress, host=host) as ends:
        _, callee = ends.connect()
        callee.hang_up()
        bye = ends.carrier.receive("BYE")
        ends.carrier.respond(bye, 200, "OK")
        assert f"<{bye.uri}>" == ends.call.contact  # the private Contact; the route set leads to it
        routes = [route.strip() for line in bye.all("route") for route in line.split(",")]
        assert routes == ends.call.record_routes


def test_an_agent_behind_a_record_routing_proxy_is_reached_through_it(exchange: Exchange):
    with TwoEnds(exchange) as ends:
        invite = ends.invite()
        proxied = f"<sip:{ends.agent.hostport};lr;id=proxy>"
        headers = [("Record-Route", proxied), ("Contact", "<sip:agent@192.0.2.77:5070>")]
        ends.agent.respond(invite, 200, "OK", tag=AGENT_TAG, headers=headers, body=ends.agent_answer)
        _, caller = ends.call.answered()
        ack = ends.agent.receive("ACK")
        assert ack.uri == "sip:agent@192.0.2.77:5070"
        assert ack.all("route") == [proxied]
        caller.hang_up()
        bye = ends.agent.receive("BYE")
        ends.agent.respond(bye, 200, "OK")
        assert bye.all("route") == [proxied]


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_audio_and_digits_cross_the_relay_both_ways(exchange: Exchange, codec):
    with TwoEnds(exchange, codec=codec) as ends:
        caller, callee = ends.connect()
        ends.caller_audio.say(audio.tone(440, 1), forever=True)
        ends.agent_audio.say(audio.tone(620, 1), forever=True)
        ends.caller_audio.wait_for_packets(60)
        ends.agent_audio.wait_for_packets(60)
        now = time.monotonic() - 0.5
        assert audio.loudest_tone(ends.caller_audio.heard(now), FREQUENCIES) == 620
        assert audio.loudest_tone(ends.agent_audio.heard(now), FREQUENCIES) == 440
        ends.caller_audio.press("5")
        ends.agent_audio.press("9")
        time.sleep(0.2)
        assert ends.agent_audio.digits() == "5"
        assert ends.caller_audio.digits() == "9"
        ends.hang_up(caller, callee)


def test_early_media_reaches_the_caller_before_the_answer(exchange: Exchange):
    with TwoEnds(exchange) as ends:
        invite = ends.invite()
        ends.agent.respond(
            invite,
            183,
            "Session Progress",
            tag=AGENT_TAG,
            headers=[ends.agent_contact],
            body=ends.agent_answer,
        )
        progress = ends.carrier.receive(180, 183)
        if progress.status == 180:  # the gateway's own ringing, sent at once (Telnyx waits 5 s for it)
            progress = ends.carrier.receive(183)
        ends.agent_audio.connect(invite.rtp_address)
        ends.caller_audio.connect(progress.rtp_address)
        ends.agent_audio.say(audio.tone(500, 1), forever=True)
        ends.caller_audio.wait_for_packets(30)
        assert audio.loudest_tone(ends.caller_audio.heard(), FREQUENCIES) == 500
        ends.answer(invite)
        _, caller = ends.call.answered()
        ends.agent.receive("ACK")
        ends.hang_up(caller, Dialog.of_callee(ends.agent, invite, tag=AGENT_TAG))


def test_direct_media_passes_the_sdp_through_untouched(exchange: Exchange):
    with TwoEnds(exchange, uri_suffix=";media=direct") as ends:
        invite = ends.invite()
        assert invite.rtp_address == ends.caller_audio.address
        assert "media=direct" not in invite.uri
        ends.answer(invite)
        ok, caller = ends.call.answered()
        assert ok.rtp_address == ends.agent_audio.address
        ends.agent.receive("ACK")
        ends.hang_up(caller, Dialog.of_callee(ends.agent, invite, tag=AGENT_TAG))


def test_the_carriers_tag_and_ours_stay_the_same_through_the_call(exchange: Exchange):
    with TwoEnds(exchange) as ends:
        ends.call.send()
        ends.carrier.receive(100)
        invite = ends.agent.receive("INVITE")
        ends.agent.respond(invite, 180, "Ringing", tag=AGENT_TAG)
        ringing = ends.carrier.receive(180)
        ends.answer(invite)
        ok, caller = ends.call.answered()
        assert tag_of(ok["to"]) == tag_of(ringing["to"]) is not None
        assert tag_of(ok["from"]) == ends.call.tag
        ends.agent.receive("ACK")
        caller.send("OPTIONS")
        ends.carrier.receive("200 OPTIONS")
        ends.hang_up(caller, Dialog.of_callee(ends.agent, invite, tag=AGENT_TAG))

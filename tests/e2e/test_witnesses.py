"""The witnesses against each other: scenarios and probes prove themselves before they accuse the gateway."""

from __future__ import annotations

import time

import pytest

from tests.e2e import audio
from tests.e2e.baresip import Baresip
from tests.e2e.carriers import Call, TelnyxCall, audio_offer
from tests.e2e.rtp import RtpPeer
from tests.e2e.sipp import Sipp
from tests.e2e.wire import Dialog, Peer, write

pytestmark = pytest.mark.e2e

NUMBER = "+14155550100"
AGENT_HEADERS = [("X-Agent-Id", "agt_a"), ("X-Call-Id", "c1"), ("X-Dialled-Number", NUMBER)]


@pytest.mark.parametrize("scenario", ["carrier_twilio", "carrier_telnyx"])
def test_a_carrier_scenario_talks_to_a_probe(tmp_path, scenario):
    with (
        Peer() as peer,
        Sipp(tmp_path, scenario, remote=peer.address, arguments=("-s", NUMBER), talk=50) as carrier,
    ):
        invite = peer.receive("INVITE")
        assert len(invite.all("via")) in (2, 3)
        peer.respond(invite, 100, "Trying")
        peer.respond(
            invite,
            200,
            "OK",
            tag="x",
            headers=[("Contact", f"<sip:{peer.hostport}>")],
            body=audio_offer("127.0.0.1", 4000),
        )
        peer.receive("ACK")
        peer.respond(peer.receive("BYE"), 200, "OK")
        carrier.succeed()


def test_the_refusal_scenario_wants_its_status_and_a_reason(tmp_path):
    for reason, expected in [([("Reason", 'SIP;cause=404;text="no such number"')], 0), ([], 1)]:
        with (
            Peer() as peer,
            Sipp(
                tmp_path, "carrier_refused", remote=peer.address, arguments=("-s", NUMBER), status=404
            ) as carrier,
        ):
            peer.respond(peer.receive("INVITE"), 404, "Not Found", tag="x", headers=reason)
            assert carrier.exit_code() == expected


def test_the_cancel_scenario_cancels(tmp_path):
    with (
        Peer() as peer,
        Sipp(
            tmp_path, "carrier_cancels", remote=peer.address, arguments=("-s", NUMBER), patience=50
        ) as carrier,
    ):
        invite = peer.receive("INVITE")
        peer.respond(invite, 180, "Ringing", tag="x")
        peer.respond(peer.receive("CANCEL"), 200, "OK", tag="x")
        peer.respond(invite, 487, "Request Terminated", tag="x")
        peer.receive("ACK")
        carrier.succeed()


def _invite_agent(peer: Peer, agent: Sipp) -> Call:
    """An INVITE as the gateway sends it to an agent, by hand."""
    call = Call(peer, agent.address, NUMBER, audio_offer("127.0.0.1", 4000))
    headers = [
        ("Via", f"SIP/2.0/UDP {peer.hostport};branch={call.branch}"),
        ("From", f"<sip:gateway@example.com>;tag={call.tag}"),
        ("To", "<sip:agent@example.com>"),
        ("Call-ID", call.call_id),
        ("CSeq", f"{call.cseq} INVITE"),
        ("Contact", f"<sip:{peer.hostport}>"),
        *AGENT_HEADERS,
        ("Content-Type", "application/sdp"),
    ]
    peer.send(write(f"INVITE {call.uri} SIP/2.0", headers, call.sdp), agent.address)
    return call


def test_an_agent_scenario_answers(tmp_path):
    with Peer() as peer, Sipp(tmp_path, "agent_answers", ring=50) as agent:
        call = _invite_agent(peer, agent)
        peer.receive(100)
        peer.receive(180)
        ok = peer.receive(200)
        dialog = Dialog.of_caller(peer, ok, call.contact)
        dialog.ack(ok)
        dialog.hang_up()
        agent.succeed()


def test_the_hold_scenario_wants_a_hold_mirrored(tmp_path):
    for direction, expected in [("recvonly", 0), ("sendrecv", 1)]:
        with (
            Peer() as peer,
            Sipp(
                tmp_path, "carrier_holds", remote=peer.address, arguments=("-s", NUMBER), talk=20
            ) as carrier,
        ):
            contact = [("Contact", f"<sip:{peer.hostport}>")]
            for answer in ["sendrecv", direction, "sendrecv"]:
                invite = peer.poll("INVITE", 2)
                if invite is None:
                    break  # SIPp gave up, as it must when its hold was not mirrored
                body = audio_offer("127.0.0.1", 4000, direction=answer)
                peer.respond(invite, 200, "OK", tag="x", headers=contact, body=body)
                peer.receive("ACK", "BYE")
            else:
                peer.respond(peer.receive("BYE"), 200, "OK")
            assert carrier.exit_code() == expected


def test_an_agent_scenario_accepts_reinvites(tmp_path):
    with Peer() as peer, Sipp(tmp_path, "agent_accepts_reinvites") as agent:
        call = _invite_agent(peer, agent)
        peer.receive(100)
        peer.receive(180)
        ok = peer.receive(200)
        dialog = Dialog.of_caller(peer, ok, call.contact)
        dialog.ack(ok)
        dialog.send("INVITE", body=call.sdp)
        dialog.ack(peer.receive(200))
        dialog.hang_up()
        agent.succeed()


@pytest.mark.parametrize("status", [486, 503])
def test_an_agent_scenario_refuses(tmp_path, status):
    with Peer() as peer, Sipp(tmp_path, "agent_refuses", status=status) as agent:
        call = _invite_agent(peer, agent)
        call.ack_refusal(peer.receive(status))
        agent.succeed()


@pytest.mark.parametrize(("status", "tag"), [(100, ""), (180, ";tag=agent")])
def test_an_agent_scenario_stalls(tmp_path, status, tag):
    with Peer() as peer, Sipp(tmp_path, "agent_stalls", status=status, tag=tag) as agent:
        call = _invite_agent(peer, agent)
        peer.receive(status)
        call.cancel()
        peer.receive("200 CANCEL")
        call.ack_refusal(peer.receive("487 INVITE"))
        agent.succeed()


@pytest.mark.parametrize("dress", [Call, TelnyxCall])
def test_two_probes_hold_a_call_and_hear_each_other(dress):
    with Peer() as carrier, Peer() as agent, RtpPeer() as ear, RtpPeer() as mouth:
        call = dress(carrier, agent.address, NUMBER, audio_offer(*ear.address))
        call.send()
        invite = agent.receive("INVITE")
        assert invite.rtp_address == ear.address
        assert invite["call-id"] == call.call_id
        agent.respond(
            invite,
            200,
            "OK",
            tag="x",
            headers=[("Contact", f"<sip:a@{agent.hostport}>")],
            body=audio_offer(*mouth.address, formats="0 101"),
        )
        ok, dialog = call.answered()
        agent.receive("ACK")
        assert ok.all("record-route") == call.record_routes
        mouth.connect(ear.address)
        mouth.say(audio.tone(620, 1.0))
        ear.connect(mouth.address)
        ear.press("7")
        ear.wait_for_packets(50)
        assert audio.loudest_tone(ear.heard(), range(500, 800, 20)) == 620
        assert mouth.digits() == "7"
        callee = Dialog.of_callee(agent, invite, tag="x")
        callee.send("BYE")
        time.sleep(0.05)
        assert callee.target == call.contact.strip("<>")  # private: only the route set leads back
        assert callee.routes == call.record_routes
        assert dialog.target == f"sip:a@{agent.hostport}"


def test_two_baresips_hear_each_other(tmp_path):
    with (
        Baresip(tmp_path / "agent", audio.tone(620, 10)) as agent,
        Baresip(tmp_path / "caller", audio.tone(440, 10), dials=agent.uri) as caller,
    ):
        agent.wait_for("incoming rtp")
        caller.wait_for("incoming rtp")
        time.sleep(1)
        caller.hang_up()
        agent.wait_for("terminated")
        agent.hang_up()
        frequencies = range(400, 700, 20)
        assert audio.loudest_tone(caller.heard(), frequencies) == 620
        assert audio.loudest_tone(agent.heard(), frequencies) == 440

"""UDP loses, doubles and delays: each case by hand, then all of them at once by SIPp's dice."""

from __future__ import annotations

import pytest

from tests.e2e import carriers
from tests.e2e.exchange import Exchange
from tests.e2e.sipp import Sipp
from tests.e2e.two_ends import AGENT_TAG, TwoEnds
from tests.e2e.wire import Dialog

pytestmark = pytest.mark.e2e


def test_an_invite_sent_twice_is_one_call(exchange: Exchange):
    with TwoEnds(exchange) as ends:
        first = ends.call.invite()
        for _ in range(3):
            ends.carrier.send(first, exchange.gateway.sip)
        ends.carrier.receive(100)
        invite = ends.agent.receive("INVITE")
        ends.agent.respond(invite, 180, "Ringing", tag=AGENT_TAG)
        ends.carrier.receive(180)
        ends.carrier.send(first, exchange.gateway.sip)
        assert ends.carrier.receive_repeat().status in (100, 180)
        ends.answer(invite)
        _, caller = ends.call.answered()
        ends.agent.receive("ACK")
        ends.hang_up(caller, Dialog.of_callee(ends.agent, invite, tag=AGENT_TAG))
        ends.agent.receive_nothing(0.1)


def test_a_200_whose_ack_is_lost_is_sent_until_it_comes(exchange: Exchange):
    with TwoEnds(exchange) as ends:
        invite = ends.ring()
        ends.answer(invite)
        ok = ends.carrier.receive("200 INVITE")
        copies = [ends.carrier.receive_repeat() for _ in range(2)]
        gaps = [copies[0].at - ok.at, copies[1].at - copies[0].at]
        assert gaps[1] > gaps[0] * 1.5  # RFC 3261 §13.3.1.4: T1, doubling
        dialog = ends.call.dialog(ok)
        dialog.ack(ok)
        ends.agent.receive("ACK")
        ends.carrier.receive_nothing(0.1)
        ends.hang_up(dialog, Dialog.of_callee(ends.agent, invite, tag=AGENT_TAG))


def test_the_agents_200_is_acknowledged_each_time_it_comes(exchange: Exchange):
    with TwoEnds(exchange) as ends:
        invite = ends.ring()
        answer = ends.answer(invite)
        _, caller = ends.call.answered()
        ends.agent.receive("ACK")
        ends.agent.send(answer, invite.source)
        assert ends.agent.receive_repeat().method == "ACK"
        ends.hang_up(caller, Dialog.of_callee(ends.agent, invite, tag=AGENT_TAG))


def test_a_refusal_is_sent_until_its_ack_comes(exchange: Exchange):
    with TwoEnds(exchange) as ends:
        ends.call.number = exchange.unknown_number()
        ends.call.send()
        refusal = ends.carrier.receive_final()
        assert refusal.status == 404
        assert ends.carrier.receive_repeat().status == 404
        ends.call.ack_refusal(refusal)
        ends.carrier.receive_nothing(0.6)
        assert len(ends.carrier.repeats) <= 2


def test_a_lost_bye_is_sent_again_and_its_200_repeated(exchange: Exchange):
    with TwoEnds(exchange) as ends:
        caller, _ = ends.connect()
        bye = caller.send("BYE")
        ends.carrier.receive("200 BYE")
        ends.carrier.send(bye, exchange.gateway.sip)
        assert ends.carrier.receive_repeat().status == 200
        relayed = ends.agent.receive("BYE")
        assert ends.agent.receive_repeat().method == "BYE"  # the agent's 200 was "lost": ours comes again
        ends.agent.respond(relayed, 200, "OK")


def test_everything_sent_twice_is_understood_once(exchange: Exchange):
    with TwoEnds(exchange) as ends:
        for end in (ends.carrier, ends.agent):
            send = end.send
            end.send = lambda data, to, send=send: (send(data, to), send(data, to))  # type: ignore[assignment]
        caller, callee = ends.connect()
        ends.hang_up(caller, callee)
        ends.carrier.receive_nothing(0.2)
        ends.agent.receive_nothing(0.2)


def test_calls_survive_one_message_in_five_lost(exchange: Exchange, tmp_path):
    calls = 20
    with Sipp(tmp_path, "agent_answers", calls=calls, arguments=("-lost", "20"), ring=50) as agent:
        line = exchange.line(agent.uri)
        with Sipp(
            tmp_path,
            "carrier_twilio",
            host=carriers.TWILIO_HOST,
            remote=exchange.gateway.sip,
            calls=calls,
            arguments=("-s", line.number, "-r", "20", "-lost", "20"),
            talk=300,
        ) as carrier:
            carrier.succeed()
        agent.stop()

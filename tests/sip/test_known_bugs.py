"""Bugs that other stacks have shipped, one test each."""

from __future__ import annotations

import pytest

from gateway.sip.events import (
    AckReceived,
    AckTimedOut,
    AnswerReceived,
    FailureReceived,
    HungUp,
    InviteCancelled,
    LegEnded,
)
from tests.sip.rig import ANSWER, PEER, PEER_TCP, Rig, connect, establish, request, response


def test_an_invite_repeated_before_any_response_of_ours_is_one_call(rig: Rig) -> None:
    rig.receive(request())
    rig.receive(request())
    rig.receive(request())
    assert len(rig.legs) == 1
    assert rig.ua.leg_count == 1
    assert {message.status for message in rig.take()} == {100}


def test_a_refusal_is_repeated_until_its_ack(rig: Rig) -> None:
    rig.receive(request())
    rig.legs[0].refuse(486)
    rig.take()
    rig.advance(3.6)
    assert [round(at - 100, 3) for at, _, _ in rig.sink.sent] == [0.5, 1.5, 3.5]
    assert {message.status for message in rig.take()} == {486}
    rig.receive(request("ACK", to_tag=rig.legs[0].local_tag))
    rig.advance(60)
    assert rig.take() == []
    rig.assert_idle()


def test_a_refusal_without_an_ack_is_given_up_at_timer_h(rig: Rig) -> None:
    rig.receive(request())
    rig.legs[0].refuse(404)
    rig.take()
    rig.advance(31.999)
    assert rig.ua.transaction_counts["invite_server"] == 1
    rig.advance(0.001)
    assert len(rig.take()) == 10
    rig.assert_idle()


def test_a_repeated_invite_gets_the_last_provisional_response_again(rig: Rig) -> None:
    rig.receive(request())
    rig.legs[0].ring(180)
    rig.legs[0].ring(183, body=ANSWER)
    *_, last = (data for _, _, data in rig.sink.sent)
    rig.sink.sent.clear()
    rig.receive(request())
    assert [data for _, _, data in rig.sink.sent] == [last]
    assert rig.sink.retransmissions == {"in": 1, "out": 1}


def test_invites_and_responses_repeated_after_a_2xx_are_absorbed(rig: Rig) -> None:
    """RFC 6026: neither does a late INVITE copy start a call, nor does a late 180 undo an answer."""
    rig.receive(request())
    rig.legs[0].answer(ANSWER)
    rig.take()
    rig.receive(request())
    assert rig.take() == []
    assert len(rig.legs) == 1
    leg, invite = connect(rig)
    rig.receive(response(invite, 180))
    rig.receive(response(invite, 486))
    assert rig.take_events() == []
    assert rig.take() == []
    assert not leg.ended


def test_an_invite_repeated_after_the_call_has_ended_starts_no_other(rig: Rig) -> None:
    leg = establish(rig)
    rig.receive(request("BYE", branch="z9hG4bKbye", cseq=2, to_tag=leg.local_tag))
    rig.take()
    rig.receive(request())
    assert rig.take() == []
    assert len(rig.legs) == 1


def test_cancel_of_an_unknown_transaction_is_answered_481(rig: Rig) -> None:
    rig.receive(request("CANCEL", branch="z9hG4bKnobody"))
    rig.take_response(481)
    rig.assert_idle()


def test_cancel_that_crosses_our_200_does_not_end_the_call(rig: Rig) -> None:
    rig.receive(request())
    leg = rig.legs[0]
    leg.answer(ANSWER)
    rig.take()
    rig.receive(request("CANCEL"))
    assert rig.take_response(200).cseq_method == "CANCEL"
    assert not leg.ended
    rig.receive(request("ACK", branch="z9hG4bKack", to_tag=leg.local_tag))
    assert rig.take_events() == [AckReceived(leg, b"")]


def test_our_cancel_that_crosses_a_200_is_followed_by_ack_and_bye(rig: Rig) -> None:
    leg = rig.call()
    invite = rig.take_request("INVITE")
    rig.receive(response(invite, 180))
    leg.cancel()
    cancel = rig.take_request("CANCEL")
    rig.take_events()
    rig.receive(response(invite, 200))
    ack, bye = rig.take()
    assert (ack.cseq, ack.cseq_method) == (1, "ACK")
    assert (bye.cseq, bye.cseq_method) == (2, "BYE")
    rig.receive(response(cancel, 200))
    rig.receive(response(bye, 200))
    assert rig.take_events() == [LegEnded(leg)]
    rig.advance(64)
    rig.assert_idle()


@pytest.mark.parametrize("flow", [PEER, PEER_TCP])
def test_a_200_whose_ack_is_lost_is_repeated_and_then_hung_up(rig: Rig, flow: object) -> None:
    via = "SIP/2.0/TCP 192.0.2.10:5060;branch=z9hG4bKtcp" if flow is PEER_TCP else None
    rig.receive(request(via=via), PEER_TCP if flow is PEER_TCP else PEER)
    leg = rig.legs[0]
    leg.answer(ANSWER)
    rig.take()
    rig.advance(31.999)
    assert [round(at - 100, 3) for at, _, _ in rig.sink.sent] == [
        0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5,
    ]  # fmt: skip
    assert {message.status for message in rig.take()} == {200}
    assert rig.take_events() == []
    rig.advance(0.001)
    assert rig.take_events() == [AckTimedOut(leg)]
    rig.receive(response(rig.take_request("BYE"), 200))
    assert rig.take_events() == [LegEnded(leg)]


def test_a_lost_ack_of_ours_is_sent_again_for_every_2xx(rig: Rig) -> None:
    _, invite = connect(rig)
    rig.receive(response(invite, 200))
    first = rig.take_request("ACK")
    rig.receive(response(invite, 200))
    assert rig.take_request("ACK").to_bytes() == first.to_bytes()
    assert rig.take_events() == []


ROUTES = (
    "Record-Route: <sip:203.0.113.7;transport=tcp;r2=on;lr;ftag=1>",
    "Record-Route:   <sip:203.0.113.7;r2=on;lr>,<sip:10.255.0.1;lr=on>",
    "Record-Route: <sip:10.231.0.1:6050;lr;tnx=abc>",
)


@pytest.mark.parametrize("status", [180, 183, 200])
def test_record_route_is_in_every_response_that_makes_a_dialog(rig: Rig, status: int) -> None:
    rig.receive(request(extra="\r\n".join(ROUTES)))
    rig.take()
    if status == 200:
        rig.legs[0].answer(ANSWER)
    else:
        rig.legs[0].ring(status)
    answer = rig.take_response(status)
    assert answer.headers.get_all("Record-Route") == [line.partition(":")[2].strip() for line in ROUTES]


def test_record_route_is_not_in_a_refusal(rig: Rig) -> None:
    rig.receive(request(extra="\r\n".join(ROUTES)))
    rig.take()
    rig.legs[0].refuse(404)
    assert "Record-Route" not in rig.take_response(404).headers


def test_an_extension_that_is_required_and_unknown_is_refused_by_name(rig: Rig) -> None:
    rig.receive(request(extra="Require: 100rel, nothing\r\nRequire: other"))
    refusal = rig.take_response(420)
    assert refusal.headers.get("Unsupported") == "nothing, other"
    assert rig.legs == []


def test_a_bye_repeated_after_the_leg_is_forgotten_gets_its_200_again(rig: Rig) -> None:
    leg = establish(rig)
    bye = request("BYE", branch="z9hG4bKbye", cseq=2, to_tag=leg.local_tag, extra="Reason: Q.850;cause=16")
    rig.receive(bye)
    rig.take_response(200)
    assert rig.take_events() == [HungUp(leg, "Q.850;cause=16")]
    rig.receive(bye)
    rig.take_response(200)
    assert rig.take_events() == []
    rig.receive(request("BYE", branch="z9hG4bKbye2", cseq=3, to_tag=leg.local_tag))
    rig.take_response(481)


def test_an_info_repeated_is_one_digit(rig: Rig) -> None:
    leg = establish(rig)
    info = request("INFO", branch="z9hG4bKinfo", cseq=2, to_tag=leg.local_tag, body=b"Signal=5\r\n")
    rig.receive(info)
    rig.receive(info)
    assert len(rig.take_events()) == 1
    assert [message.status for message in rig.take()] == [200, 200]


def test_a_response_goes_back_to_the_via_and_not_to_the_contact_or_the_to(rig: Rig) -> None:
    source = PEER._replace(port=40001)
    rig.receive(request(via="SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bKa"), source)
    assert rig.flows() == [PEER._replace(port=5062)]


def test_cancel_is_answered_200_and_its_invite_487(rig: Rig) -> None:
    rig.receive(request())
    leg = rig.legs[0]
    leg.ring()
    tag = rig.take()[-1].to_tag
    rig.receive(request("CANCEL", extra='Reason: SIP;cause=200;text="elsewhere"'))
    ok, terminated = rig.take()
    assert (ok.status, ok.cseq_method, ok.to_tag) == (200, "CANCEL", tag)
    assert (terminated.status, terminated.cseq_method, terminated.to_tag) == (487, "INVITE", tag)
    assert rig.take_events() == [InviteCancelled(leg, 'SIP;cause=200;text="elsewhere"')]
    rig.receive(request("CANCEL"))
    assert rig.take_response(200).cseq_method == "CANCEL"
    rig.receive(request("ACK", to_tag=tag))
    rig.advance(64)
    rig.assert_idle()


def test_an_answer_that_comes_too_late_for_a_cancelled_call_is_not_sent(rig: Rig) -> None:
    rig.receive(request())
    rig.receive(request("CANCEL"))
    rig.take()
    leg = rig.legs[0]
    leg.ring()
    leg.answer(ANSWER)
    leg.refuse(503)
    leg.hangup()
    assert rig.take() == []


def test_a_final_refusal_after_an_answer_of_another_fork_is_no_failure(rig: Rig) -> None:
    leg, invite = connect(rig)
    rig.receive(response(invite, 603, tag="other"))
    assert rig.take_events() == []
    assert not leg.ended


def test_a_copy_of_a_refused_change_does_not_become_another_change(rig: Rig) -> None:
    """The first copy was answered 491; accepting the second would give one INVITE two final responses."""
    leg = establish(rig)
    leg.reinvite(ANSWER)
    ours = rig.take_request("INVITE")
    change = request(branch="z9hG4bKre", cseq=2, to_tag=leg.local_tag)
    rig.receive(change)
    rig.take_response(491)
    rig.receive(response(ours, 200))
    rig.take()
    rig.receive(change)
    rig.take_response(491)


def test_every_other_phone_that_answers_is_acknowledged_and_hung_up(rig: Rig) -> None:
    leg, invite = connect(rig)
    other = response(invite, 200, tag="other", contact="<sip:other@192.0.2.77>")
    rig.receive(other)
    flows = rig.flows()
    ack, bye = rig.take()
    assert flows == [PEER._replace(host="192.0.2.77")] * 2
    assert (ack.uri, ack.to_tag, ack.cseq) == ("sip:other@192.0.2.77", "other", 1)
    assert (bye.uri, bye.to_tag, bye.cseq_method) == ("sip:other@192.0.2.77", "other", "BYE")
    rig.receive(other)
    assert rig.take_request("ACK").to_bytes() == ack.to_bytes()
    assert rig.take_events() == []
    assert not leg.ended


def test_the_peer_that_says_100_and_dies_is_not_waited_for_for_ever(rig: Rig) -> None:
    leg = rig.call()
    invite = rig.take_request("INVITE")
    rig.receive(response(invite, 100))
    rig.take_events()
    rig.advance(300)
    assert rig.take_request("CANCEL").branch == invite.branch
    rig.advance(64)
    assert rig.take_events() == [FailureReceived(leg, 408, "Request Timeout", "timeout", None)]
    rig.assert_idle()


def test_an_answer_is_told_once_however_often_it_comes(rig: Rig) -> None:
    rig.call()
    invite = rig.take_request("INVITE")
    for _ in range(3):
        rig.receive(response(invite, 200))
    assert [type(event) for event in rig.take_events()] == [AnswerReceived]
    assert len(rig.take()) == 3

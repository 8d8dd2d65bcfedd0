"""Re-INVITEs in both directions, and what happens when they meet."""

from __future__ import annotations

import pytest

from gateway.sip.events import (
    AckReceived,
    AckTimedOut,
    HungUp,
    LegEnded,
    ReinviteAnswered,
    ReinviteFailed,
    ReinviteReceived,
)
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.leg import LegStateError
from gateway.sip.message import Request
from gateway.sip.session_change import MAX_COLLISIONS
from tests.sip.rig import ANSWER, OFFER, Rig, connect, establish, request, response

HOLD = OFFER + b"a=sendonly\r\n"


@pytest.fixture
def leg(rig: Rig) -> InboundLeg:
    return establish(rig)


def reinvite(leg: InboundLeg, cseq: int = 2, **kwargs: object) -> bytes:
    return request(
        cseq=cseq,
        branch=f"z9hG4bKre{cseq}",
        to_tag=leg.local_tag,
        **kwargs,  # type: ignore[arg-type]
    )


def ack(leg: InboundLeg, cseq: int = 2, body: bytes = b"") -> bytes:
    return request("ACK", cseq=cseq, branch=f"z9hG4bKack{cseq}", to_tag=leg.local_tag, body=body)


def test_the_peers_change_is_answered_and_confirmed(rig: Rig, leg: InboundLeg) -> None:
    rig.receive(reinvite(leg, body=HOLD, contact="<sip:moved@192.0.2.99:5070>"))
    rig.take_response(100)
    (event,) = rig.take_events()
    assert isinstance(event, ReinviteReceived)
    assert event.request.body == HOLD
    assert leg.remote_contact == "sip:caller@192.0.2.10:5060"
    leg.answer_reinvite(ANSWER)
    answer = rig.take_response(200)
    assert (answer.body, answer.cseq, answer.to_tag) == (ANSWER, 2, leg.local_tag)
    assert answer.headers.get("Contact") == "<sip:198.51.100.1:5060>"
    assert leg.remote_contact == "sip:moved@192.0.2.99:5070"
    rig.receive(ack(leg))
    assert rig.take_events() == [AckReceived(leg, b"")]
    rig.advance(64)
    assert rig.take() == []


def test_a_refused_change_leaves_everything_as_it_was(rig: Rig, leg: InboundLeg) -> None:
    rig.receive(reinvite(leg, contact="<sip:moved@192.0.2.99>"))
    rig.take()
    leg.refuse_reinvite(488, headers=(("Warning", "399 x y"),))
    refusal = rig.take_response(488)
    assert refusal.headers.get("Warning") == "399 x y"
    assert leg.remote_contact == "sip:caller@192.0.2.10:5060"
    assert not leg.ended
    rig.receive(reinvite(leg, cseq=3))
    rig.take_response(100)


def test_the_200_of_a_change_is_repeated_until_its_ack_and_then_the_call_is_over(
    rig: Rig, leg: InboundLeg
) -> None:
    rig.receive(reinvite(leg))
    leg.answer_reinvite(ANSWER)
    rig.take()
    rig.take_events()
    rig.advance(31.9)
    assert [message.status for message in rig.take()] == [200] * 10
    rig.advance(0.1)
    assert rig.take_events() == [AckTimedOut(leg)]
    rig.receive(response(rig.take_request("BYE"), 200))
    assert rig.take_events() == [LegEnded(leg)]
    rig.advance(64)
    rig.assert_idle()


def test_a_change_that_nobody_answers_any_more_is_forgotten_with_its_leg(rig: Rig, leg: InboundLeg) -> None:
    leg.reinvite(HOLD)
    rig.receive(response(rig.take_request("INVITE"), 100))  # a proxy; whoever is behind it is gone
    leg.hangup()
    sent = {message.method: message for message in rig.take() if isinstance(message, Request)}
    assert set(sent) == {"BYE", "CANCEL"}
    rig.receive(response(sent["BYE"], 408))
    rig.take_events()
    rig.advance(32)
    rig.take()
    rig.advance(32)
    rig.assert_idle()


def test_a_second_invite_while_one_waits_is_told_to_come_back(rig: Rig, leg: InboundLeg) -> None:
    rig.receive(reinvite(leg))
    rig.take()
    rig.receive(reinvite(leg, cseq=3))
    refusal = rig.take_response(500)
    assert 0 <= int(refusal.headers.get("Retry-After") or -1) <= 10
    leg.answer_reinvite(ANSWER)
    assert rig.take_response(200).cseq == 2


def test_an_invite_of_the_same_peer_before_our_first_answer_is_told_to_come_back(rig: Rig) -> None:
    rig.receive(request())
    rig.take()
    rig.receive(reinvite(rig.legs[0]))
    assert rig.take_response(500).headers.get("Retry-After")


def test_a_change_may_overtake_the_ack_of_the_first_answer(rig: Rig) -> None:
    rig.receive(request())
    leg = rig.legs[0]
    leg.answer(ANSWER)
    rig.receive(reinvite(leg))
    leg.answer_reinvite(ANSWER)
    rig.take()
    rig.receive(ack(leg, cseq=1))
    rig.receive(ack(leg, cseq=2))
    rig.advance(64)
    assert rig.take() == []
    assert leg.confirmed


def test_a_change_may_not_overtake_the_ack_that_answers_our_offer(rig: Rig) -> None:
    rig.receive(request(body=b""))
    leg = rig.legs[0]
    leg.answer(OFFER)
    rig.take()
    rig.receive(reinvite(leg))
    rig.take_response(491)


def test_a_cancelled_change_is_answered_487(rig: Rig, leg: InboundLeg) -> None:
    rig.receive(reinvite(leg))
    rig.take()
    rig.receive(request("CANCEL", cseq=2, branch="z9hG4bKre2", to_tag=leg.local_tag))
    ok, terminated = rig.take()
    assert (ok.status, ok.cseq_method) == (200, "CANCEL")
    assert (terminated.status, terminated.cseq) == (487, 2)
    leg.answer_reinvite(ANSWER)
    assert rig.take() == []
    assert not leg.ended


def test_a_cancel_of_an_earlier_change_does_not_hit_the_present_one(rig: Rig, leg: InboundLeg) -> None:
    rig.receive(reinvite(leg))
    leg.answer_reinvite(ANSWER)
    rig.receive(ack(leg))
    rig.receive(reinvite(leg, cseq=3))
    rig.take()
    rig.receive(request("CANCEL", cseq=2, branch="z9hG4bKre2", to_tag=leg.local_tag))
    rig.take_response(200)
    leg.answer_reinvite(ANSWER)
    assert rig.take_response(200).cseq == 3


def test_a_bye_in_the_middle_of_a_change_ends_both(rig: Rig, leg: InboundLeg) -> None:
    rig.receive(reinvite(leg))
    rig.take()
    rig.take_events()
    rig.receive(request("BYE", cseq=3, branch="z9hG4bKbye", to_tag=leg.local_tag))
    assert [message.status for message in rig.take()] == [200, 487]
    assert rig.take_events() == [HungUp(leg, None)]
    rig.receive(request("ACK", cseq=2, branch="z9hG4bKre2", to_tag=leg.local_tag))
    rig.advance(64)
    rig.assert_idle()


def test_our_change_is_confirmed_by_itself(rig: Rig, leg: InboundLeg) -> None:
    leg.reinvite(HOLD, (("X-Why", "hold"),))
    sent = rig.take_request("INVITE")
    assert (sent.cseq, sent.body, sent.headers.get("X-Why")) == (1, HOLD, "hold")
    assert sent.headers.get("Contact")
    rig.receive(response(sent, 100))
    answer = response(sent, 200, contact="<sip:moved@192.0.2.98>")
    rig.receive(answer)
    (event,) = rig.take_events()
    assert isinstance(event, ReinviteAnswered)
    first = rig.take_request("ACK")
    assert (first.cseq, first.uri) == (1, "sip:moved@192.0.2.98")
    rig.receive(answer)
    assert rig.take_request("ACK").to_bytes() == first.to_bytes()
    assert rig.take_events() == []


def test_our_change_without_an_offer_is_confirmed_with_an_answer(rig: Rig, leg: InboundLeg) -> None:
    leg.reinvite(b"")
    sent = rig.take_request("INVITE")
    rig.receive(response(sent, 200, body=OFFER))
    assert rig.take() == []
    leg.ack(ANSWER)
    assert rig.take_request("ACK").body == ANSWER


def test_an_ack_before_the_answer_is_a_mistake(rig: Rig, leg: InboundLeg) -> None:
    leg.reinvite(b"")
    rig.take_request("INVITE")
    with pytest.raises(LegStateError):
        leg.ack(ANSWER)
    assert rig.take() == []


def test_hanging_up_confirms_an_offer_that_nobody_answered(rig: Rig, leg: InboundLeg) -> None:
    leg.reinvite(b"")
    rig.receive(response(rig.take_request("INVITE"), 200, body=OFFER))
    leg.hangup()
    assert [message.cseq_method for message in rig.take()] == ["ACK", "BYE"]


def test_a_2xx_to_our_change_that_crosses_our_bye_is_still_confirmed(rig: Rig, leg: InboundLeg) -> None:
    leg.reinvite(OFFER)
    sent = rig.take_request("INVITE")
    leg.hangup()
    bye = rig.take_request("BYE")
    rig.receive(response(sent, 200))
    assert rig.take_request("ACK").cseq == sent.cseq
    rig.receive(response(bye, 200))
    assert rig.take_events() == [LegEnded(leg)]
    rig.advance(64)
    rig.assert_idle()


@pytest.mark.parametrize("status", [415, 488, 500, 603])
def test_our_change_refused_leaves_the_call(rig: Rig, leg: InboundLeg, status: int) -> None:
    leg.reinvite(OFFER)
    rig.receive(response(rig.take_request("INVITE"), status))
    rig.take_request("ACK")
    (event,) = rig.take_events()
    assert isinstance(event, ReinviteFailed)
    assert event.status == status
    assert not leg.ended
    leg.reinvite(OFFER)
    rig.take_request("INVITE")


def test_our_change_refused_with_481_ends_the_leg(rig: Rig, leg: InboundLeg) -> None:
    leg.reinvite(OFFER)
    rig.receive(response(rig.take_request("INVITE"), 481))
    rig.take_request("ACK")
    failed, ended = rig.take_events()
    assert isinstance(failed, ReinviteFailed)
    assert ended == LegEnded(leg)
    rig.advance(64)
    rig.assert_idle()


def test_our_change_that_nobody_answers_ends_the_leg_with_a_bye(rig: Rig, leg: InboundLeg) -> None:
    leg.reinvite(OFFER)
    rig.advance(32)
    assert rig.take_events() == [ReinviteFailed(leg, 408, None)]
    bye = rig.take()[-1]
    assert isinstance(bye, Request)
    rig.receive(response(bye, 200))
    assert rig.take_events() == [LegEnded(leg)]
    rig.advance(64)
    rig.assert_idle()


def test_the_peers_change_in_the_middle_of_ours_is_refused_491(rig: Rig, leg: InboundLeg) -> None:
    leg.reinvite(OFFER)
    sent = rig.take_request("INVITE")
    rig.receive(reinvite(leg))
    rig.take_response(491)
    rig.receive(response(sent, 200))
    assert isinstance(rig.take_events()[-1], ReinviteAnswered)


def collide(rig: Rig, pauses: list[float]) -> Request:
    """Refuse our INVITE once for each pause with 491, and collect how long each pause was."""
    sent = rig.take_request("INVITE")
    for _ in range(MAX_COLLISIONS):
        rig.receive(response(sent, 491))
        rig.take_request("ACK")
        before = rig.clock.now
        while not rig.sink.sent:
            rig.advance(0.01)
        pauses.append(rig.clock.now - before)
        sent = rig.take_request("INVITE")
    return sent


def test_after_a_collision_the_called_side_tries_again_within_two_seconds(rig: Rig, leg: InboundLeg) -> None:
    leg.reinvite(HOLD)
    pauses: list[float] = []
    sent = collide(rig, pauses)
    assert all(pause <= 2.02 for pause in pauses)
    assert len({round(pause, 2) for pause in pauses}) > 1
    assert sent.body == HOLD
    assert rig.take_events() == []
    rig.receive(response(sent, 200))
    assert isinstance(rig.take_events()[-1], ReinviteAnswered)


def test_after_a_collision_the_side_that_made_the_call_id_pauses_longer(rig: Rig) -> None:
    leg, _ = connect(rig)
    leg.reinvite(HOLD)
    pauses: list[float] = []
    sent = collide(rig, pauses)
    assert all(2.1 <= pause <= 4.02 for pause in pauses)
    rig.receive(response(sent, 491))
    (event,) = rig.take_events()
    assert isinstance(event, ReinviteFailed)
    assert event.status == 491
    assert not leg.ended


def test_in_the_pause_the_peers_change_is_taken_and_ours_waits_for_it(rig: Rig, leg: InboundLeg) -> None:
    leg.reinvite(HOLD)
    rig.receive(response(rig.take_request("INVITE"), 491))
    rig.take()
    rig.receive(reinvite(leg))
    rig.take_response(100)
    rig.advance(20)
    assert rig.take() == []
    leg.answer_reinvite(ANSWER)
    rig.take_response(200)
    rig.receive(ack(leg))
    assert rig.take_request("INVITE").body == HOLD


def test_in_the_pause_the_peers_change_is_refused_and_ours_follows_it(rig: Rig, leg: InboundLeg) -> None:
    leg.reinvite(HOLD)
    rig.receive(response(rig.take_request("INVITE"), 491))
    rig.receive(reinvite(leg))
    rig.advance(20)
    rig.take()
    leg.refuse_reinvite(488)
    refusal, sent = rig.take()
    assert (refusal.cseq_method, sent.body) == ("INVITE", HOLD)


def test_our_change_while_the_peers_waits_is_told_491_at_once(rig: Rig, leg: InboundLeg) -> None:
    rig.receive(reinvite(leg))
    rig.take()
    rig.take_events()
    leg.reinvite(OFFER)
    assert rig.take_events() == []
    rig.advance(0)
    assert rig.take_events() == [ReinviteFailed(leg, 491, None)]
    assert rig.take() == []


def test_our_second_change_while_the_first_is_under_way_is_told_491(rig: Rig, leg: InboundLeg) -> None:
    leg.reinvite(OFFER)
    sent = rig.take_request("INVITE")
    leg.reinvite(HOLD)
    rig.advance(0)
    assert rig.take_events() == [ReinviteFailed(leg, 491, None)]
    rig.receive(response(sent, 200))
    assert isinstance(rig.take_events()[-1], ReinviteAnswered)


def test_our_change_waits_for_the_ack_of_our_answer(rig: Rig) -> None:
    rig.receive(request())
    leg = rig.legs[0]
    leg.answer(ANSWER)
    rig.take()
    leg.reinvite(HOLD)
    assert rig.take() == []
    rig.receive(ack(leg, cseq=1))
    assert rig.take_request("INVITE").body == HOLD


def test_an_ended_leg_forgets_the_change_it_wanted(rig: Rig, leg: InboundLeg) -> None:
    leg.reinvite(HOLD)
    rig.receive(response(rig.take_request("INVITE"), 491))
    rig.take()
    rig.receive(request("BYE", cseq=2, branch="z9hG4bKbye", to_tag=leg.local_tag))
    rig.take()
    rig.advance(64)
    assert rig.take() == []
    rig.assert_idle()

"""A caller's leg, verb by verb and message by message."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.sip.events import AckReceived, AckTimedOut, HungUp, InfoReceived, LegEnded
from gateway.sip.flow import Flow
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.leg import LegStateError
from gateway.sip.message import Request
from tests.sip.rig import ANSWER, PEER_TCP, Rig, establish, request, response


@pytest.fixture
def leg(rig: Rig) -> InboundLeg:
    rig.receive(request())
    rig.take_response(100)
    return rig.legs[0]


def ack(leg: InboundLeg, body: bytes = b"") -> bytes:
    return request("ACK", branch="z9hG4bKack", to_tag=leg.local_tag, body=body)


def bye(leg: InboundLeg, cseq: int = 2) -> bytes:
    return request("BYE", branch=f"z9hG4bKbye{cseq}", cseq=cseq, to_tag=leg.local_tag)


def test_ringing_has_our_tag_and_contact_and_early_media(rig: Rig, leg: InboundLeg) -> None:
    leg.ring(183, body=ANSWER, headers=(("X-Why", "early"),))
    progress = rig.take_response(183)
    assert progress.to_tag == leg.local_tag
    assert progress.headers.get("Contact") == "<sip:198.51.100.1:5060>"
    assert progress.headers.get("Content-Type") == "application/sdp"
    assert progress.headers.get("X-Why") == "early"
    assert progress.body == ANSWER
    leg.ring(182, "Wait a little")
    assert rig.take_response(182).reason == "Wait a little"


def test_ringing_is_repeated_every_minute_and_given_up_after_six(rig: Rig, leg: InboundLeg) -> None:
    leg.ring()
    rig.take()
    rig.advance(359)
    assert [round(at - 100) for at, _, _ in rig.sink.sent] == [60, 120, 180, 240, 300]
    assert {message.status for message in rig.take()} == {180}
    rig.advance(1)
    rig.take_response(480)
    assert rig.take_events() == [LegEnded(leg)]
    rig.advance(64)
    rig.assert_idle()


def test_a_caller_that_heard_only_100_is_not_reminded(rig: Rig, leg: InboundLeg) -> None:
    rig.advance(359)
    assert rig.take() == []
    rig.advance(1)
    rig.take_response(480)
    assert leg.ended


def test_an_answer_is_confirmed(rig: Rig, leg: InboundLeg) -> None:
    leg.answer(ANSWER, headers=(("X-Agent", "a"),))
    answer = rig.take_response(200)
    assert (answer.body, answer.headers.get("X-Agent")) == (ANSWER, "a")
    assert answer.headers.get("Server") == "voice-gateway"
    assert (leg.answered, leg.confirmed, leg.final_status) == (True, False, 200)
    rig.receive(ack(leg, b"late answer"))
    assert rig.take_events() == [AckReceived(leg, b"late answer")]
    assert leg.confirmed
    rig.receive(ack(leg))
    assert rig.take_events() == []
    rig.advance(64)
    assert rig.take() == []


def test_an_ack_for_another_number_confirms_nothing(rig: Rig, leg: InboundLeg) -> None:
    leg.answer(ANSWER)
    rig.receive(request("ACK", branch="z9hG4bKack", cseq=9, to_tag=leg.local_tag))
    assert not leg.confirmed
    assert rig.sink.drops == ["stray_ack"]


def test_the_ack_of_a_2xx_may_share_the_invites_branch(rig: Rig, leg: InboundLeg) -> None:
    leg.answer(ANSWER)
    rig.receive(request("ACK", to_tag=leg.local_tag))
    assert leg.confirmed


@pytest.mark.parametrize(("verb", "args"), [("ring", ()), ("answer", (ANSWER,)), ("refuse", (486,))])
def test_after_an_answer_the_early_verbs_are_mistakes(
    leg: InboundLeg, verb: str, args: tuple[object, ...]
) -> None:
    leg.answer(ANSWER)
    with pytest.raises(LegStateError):
        getattr(leg, verb)(*args)


@pytest.mark.parametrize(
    ("verb", "args"), [("reinvite", (b"",)), ("info", ("text/plain", b"x")), ("ack", (b"",))]
)
def test_before_an_answer_the_late_verbs_are_mistakes(
    leg: InboundLeg, verb: str, args: tuple[object, ...]
) -> None:
    with pytest.raises(LegStateError):
        getattr(leg, verb)(*args)


def test_hangup_says_bye_and_the_answer_ends_the_leg(rig: Rig) -> None:
    leg = establish(rig)
    leg.hangup((("Reason", "Q.850;cause=16"),))
    sent = rig.take_request("BYE")
    assert (sent.from_tag, sent.to_tag, sent.cseq) == (leg.local_tag, "caller", 1)
    assert sent.headers.get("Reason") == "Q.850;cause=16"
    assert leg.ended
    assert rig.take_events() == []
    rig.receive(response(sent, 100))
    assert rig.take_events() == []
    rig.receive(response(sent, 200))
    assert rig.take_events() == [LegEnded(leg)]
    rig.advance(64)
    rig.assert_idle()


@pytest.mark.parametrize("status", [401, 408, 481, 500, 603])
def test_whatever_our_bye_is_answered_the_leg_is_over(rig: Rig, status: int) -> None:
    leg = establish(rig)
    leg.hangup()
    rig.receive(response(rig.take_request("BYE"), status))
    assert rig.take_events() == [LegEnded(leg)]
    assert rig.ua.leg_count == 0


def test_a_bye_that_nobody_answers_is_given_up(rig: Rig) -> None:
    leg = establish(rig)
    leg.hangup()
    rig.advance(31.9)
    assert rig.take_events() == []
    rig.advance(0.1)
    assert rig.take_events() == [LegEnded(leg)]
    rig.assert_idle()


def test_hangup_waits_for_the_ack(rig: Rig, leg: InboundLeg) -> None:
    leg.answer(ANSWER)
    rig.take()
    leg.hangup((("Reason", "x"),))
    assert rig.take() == []
    rig.receive(ack(leg))
    sent = rig.take_request("BYE")
    assert sent.headers.get("Reason") == "x"
    rig.receive(response(sent, 200))
    assert rig.take_events() == [LegEnded(leg)]
    rig.advance(64)
    rig.assert_idle()


def test_hangup_without_an_ack_ever_says_bye_all_the_same(rig: Rig, leg: InboundLeg) -> None:
    leg.answer(ANSWER)
    leg.hangup()
    rig.take()
    rig.advance(32)
    *_, last = rig.take()
    assert isinstance(last, Request)
    assert last.method == "BYE"
    rig.receive(response(last, 481))
    assert rig.take_events() == [LegEnded(leg)]


def test_a_bye_that_comes_while_ours_waits_for_the_ack_ends_the_leg(rig: Rig, leg: InboundLeg) -> None:
    leg.answer(ANSWER)
    leg.hangup()
    rig.take()
    rig.receive(bye(leg))
    rig.take_response(200)
    assert rig.take_events() == [LegEnded(leg)]
    rig.receive(ack(leg))
    rig.advance(64)
    assert rig.take() == []
    rig.assert_idle()


def test_both_sides_may_hang_up_at_once(rig: Rig) -> None:
    leg = establish(rig)
    leg.hangup()
    ours = rig.take_request("BYE")
    rig.receive(bye(leg))
    rig.take_response(200)
    assert rig.take_events() == []
    rig.receive(response(ours, 481))
    assert rig.take_events() == [LegEnded(leg)]
    rig.advance(64)
    rig.assert_idle()


def test_a_bye_before_the_ack_ends_the_call_and_the_repetitions(rig: Rig, leg: InboundLeg) -> None:
    leg.answer(ANSWER)
    rig.take()
    rig.receive(bye(leg))
    rig.take_response(200)
    assert rig.take_events() == [HungUp(leg, None)]
    rig.advance(64)
    assert rig.take() == []
    rig.assert_idle()


def test_a_bye_instead_of_cancel_is_obeyed_and_the_invite_answered_487(rig: Rig, leg: InboundLeg) -> None:
    leg.ring()
    rig.take()
    rig.receive(bye(leg))
    ok, terminated = rig.take()
    assert (ok.status, ok.cseq_method) == (200, "BYE")
    assert (terminated.status, terminated.cseq_method) == (487, "INVITE")
    assert rig.take_events() == [HungUp(leg, None)]
    rig.receive(request("ACK", to_tag=leg.local_tag))
    rig.advance(64)
    rig.assert_idle()


def test_hangup_before_an_answer_is_a_refusal_that_lets_the_carrier_go_on(rig: Rig, leg: InboundLeg) -> None:
    leg.hangup((("Reason", "SIP;cause=480"),))
    assert rig.take_response(480).headers.get("Reason") == "SIP;cause=480"
    assert rig.ua.leg_count == 0


def test_a_refusal_carries_its_reason(rig: Rig, leg: InboundLeg) -> None:
    leg.refuse(503, "Draining", (("Retry-After", "5"), ("Reason", 'SIP;cause=503;text="draining"')))
    refusal = rig.take_response(503)
    assert (refusal.reason, refusal.headers.get("Retry-After")) == ("Draining", "5")
    assert (leg.final_status, leg.ended) == (503, True)


def test_a_header_that_would_break_the_message_is_made_harmless(rig: Rig, leg: InboundLeg) -> None:
    leg.refuse(503, "a\r\nb", (("X-Text", "one\r\nInjected: yes\0"),))
    refusal = rig.take_response(503)
    assert refusal.reason == "a  b"
    assert refusal.headers.get("X-Text") == "one  Injected: yes"


def test_a_lower_number_is_refused_and_an_older_one_after_that_too(rig: Rig) -> None:
    leg = establish(rig)
    rig.receive(request("INFO", branch="z9hG4bKi5", cseq=5, to_tag=leg.local_tag))
    rig.take_response(200)
    rig.receive(request("INFO", branch="z9hG4bKi4", cseq=4, to_tag=leg.local_tag))
    rig.take_response(500)
    assert len(rig.take_events()) == 1


@pytest.mark.parametrize("wrong", [{"from_tag": "x"}, {"call_id": "x"}, {"to_tag": "x"}])
def test_a_request_with_one_wrong_identifier_is_in_no_dialog(rig: Rig, wrong: dict[str, str]) -> None:
    leg = establish(rig)
    arguments = {"to_tag": leg.local_tag, **wrong}
    rig.receive(request("BYE", branch="z9hG4bKbye", cseq=2, **arguments))  # type: ignore[arg-type]
    rig.take_response(481)
    assert not leg.ended


def test_options_inside_the_dialog_is_answered_by_itself(rig: Rig) -> None:
    leg = establish(rig)
    rig.receive(request("OPTIONS", branch="z9hG4bKo", cseq=2, to_tag=leg.local_tag))
    assert rig.take_response(200).headers.get("Allow")
    assert rig.take_events() == []


def test_info_is_answered_and_told(rig: Rig) -> None:
    leg = establish(rig)
    extra = "Content-Type: application/dtmf-relay"
    rig.receive(
        request("INFO", branch="z9hG4bKi", cseq=2, to_tag=leg.local_tag, extra=extra, body=b"Signal=5")
    )
    rig.take_response(200)
    (event,) = rig.take_events()
    assert isinstance(event, InfoReceived)
    assert event.request.body == b"Signal=5"


def test_our_info_goes_along_and_a_refusal_of_it_is_nothing(rig: Rig) -> None:
    leg = establish(rig)
    leg.info("application/dtmf-relay", b"Signal=1\r\n")
    sent = rig.take_request("INFO")
    assert (sent.headers.get("Content-Type"), sent.body) == ("application/dtmf-relay", b"Signal=1\r\n")
    rig.receive(response(sent, 415))
    assert not leg.ended
    assert rig.take_events() == []


def test_a_481_inside_the_dialog_ends_it_without_a_bye(rig: Rig) -> None:
    leg = establish(rig)
    leg.info("text/plain", b"x")
    rig.receive(response(rig.take_request("INFO"), 481))
    assert rig.take_events() == [LegEnded(leg)]
    assert rig.take() == []
    rig.advance(64)
    rig.assert_idle()


def answered_408(rig: Rig, sent: Request) -> None:
    rig.receive(response(sent, 408))


def silent(rig: Rig, sent: Request) -> None:
    rig.advance(32)


@pytest.mark.parametrize("outcome", [answered_408, silent])
def test_a_peer_that_is_gone_is_hung_up(rig: Rig, outcome: Callable[[Rig, Request], None]) -> None:
    leg = establish(rig)
    leg.info("text/plain", b"x")
    sent = rig.take_request("INFO")
    outcome(rig, sent)
    *_, bye_sent = rig.take()
    assert isinstance(bye_sent, Request)
    assert bye_sent.method == "BYE"
    assert leg.ended
    rig.advance(32)
    assert rig.take_events() == [LegEnded(leg)]
    rig.advance(64)
    rig.assert_idle()


def test_a_bye_goes_along_the_route_and_to_the_first_of_it(rig: Rig) -> None:
    rig.receive(request(extra="Record-Route: <sip:192.0.2.1;lr>, <sip:192.0.2.2;lr>"))
    leg = rig.legs[0]
    leg.answer(ANSWER)
    rig.receive(ack(leg))
    rig.take()
    leg.hangup()
    assert rig.flows() == [Flow("udp", "192.0.2.1", 5060)]
    sent = rig.take_request("BYE")
    assert sent.uri == "sip:caller@192.0.2.10:5060"
    assert sent.headers.get_all("Route") == ["<sip:192.0.2.1;lr>", "<sip:192.0.2.2;lr>"]


def test_a_caller_that_comes_back_on_another_connection_is_reached_there(rig: Rig) -> None:
    via = "SIP/2.0/TCP 192.0.2.10:5060;branch=z9hG4bK"
    rig.receive(request(via=f"{via}1", contact="<sip:x@192.0.2.10;transport=tcp>"), PEER_TCP)
    leg = rig.legs[0]
    leg.answer(ANSWER)
    rig.sink.closed.add(PEER_TCP)
    again = PEER_TCP._replace(port=40002, channel=8)
    rig.receive(request("ACK", via=f"{via}2", to_tag=leg.local_tag), again)
    rig.receive(request("OPTIONS", via=f"{via}3", cseq=2, to_tag=leg.local_tag), again)
    rig.take()
    leg.hangup()
    assert rig.flows() == [again]
    assert rig.take_request("BYE").via.transport == "TCP"


def test_the_contact_of_a_stream_names_its_transport(rig: Rig) -> None:
    rig.receive(request(via="SIP/2.0/TCP 192.0.2.10:5060;branch=z9hG4bKt"), PEER_TCP)
    rig.take()
    rig.legs[0].answer(ANSWER)
    assert rig.take_response(200).headers.get("Contact") == "<sip:198.51.100.1:5060;transport=tcp>"


def test_remote_contact_follows_the_peer(rig: Rig, leg: InboundLeg) -> None:
    assert leg.remote_contact == "sip:caller@192.0.2.10:5060"


def test_ack_timed_out_is_told_before_the_end(rig: Rig, leg: InboundLeg) -> None:
    leg.answer(ANSWER)
    rig.advance(32)
    assert rig.take_events() == [AckTimedOut(leg)]
    assert leg.ended
    rig.advance(32)
    assert rig.take_events() == [LegEnded(leg)]
    rig.assert_idle()

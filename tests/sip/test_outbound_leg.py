"""An agent's leg, verb by verb and message by message."""

from __future__ import annotations

import gc

import pytest

from gateway.sip.events import (
    AnswerReceived,
    FailureReceived,
    HungUp,
    InfoReceived,
    LegEnded,
    ProvisionalReceived,
)
from gateway.sip.flow import Flow
from gateway.sip.leg import LegStateError
from gateway.sip.message import Request, Response
from gateway.sip.outbound_leg import OutboundLeg
from gateway.sip.transaction_layer import UDP_REQUEST_LIMIT
from tests.sip.rig import ANSWER, OFFER, PEER, Rig, connect, request, response


def from_agent(
    leg: OutboundLeg, method: str, *, cseq: int = 1, tag: str = "agent", branch: str = "z9hG4bKagent1"
) -> bytes:
    """A request of the agent's inside the dialog."""
    return request(method, branch=branch, cseq=cseq, from_tag=tag, to_tag=leg.local_tag, call_id=leg.call_id)


def ringing(rig: Rig) -> tuple[OutboundLeg, Request]:
    leg = rig.call()
    invite = rig.take_request("INVITE")
    rig.receive(response(invite, 180))
    rig.take_events()
    return leg, invite


def test_the_invite_is_complete(rig: Rig) -> None:
    leg = rig.call(headers=(("X-Agent-Id", "agt_1"), ("Max-Forwards", "42")))
    invite = rig.take_request("INVITE")
    assert invite.uri == "sip:agent@192.0.2.10"
    assert str(invite.via).startswith("SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK")
    assert invite.via.param("rport") == ""
    assert (invite.from_tag, invite.to_tag) == (leg.local_tag, None)
    assert (invite.call_id, invite.cseq) == (leg.call_id, 1)
    assert invite.headers.get_all("Max-Forwards") == ["42"]
    assert invite.headers.get("X-Agent-Id") == "agt_1"
    assert invite.headers.get("Contact") == "<sip:198.51.100.1:5060>"
    assert invite.headers.get("Content-Type") == "application/sdp"
    assert invite.headers.get("User-Agent") == "voice-gateway"
    assert "CANCEL" in (invite.headers.get("Allow") or "")
    assert invite.body == OFFER


def test_an_ipv6_address_stands_in_brackets(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig.sink, "local_address", lambda flow: ("2001:db8::5", 5070))
    rig.call(Flow("tcp", "2001:db8::9", 5060, 4))
    invite = rig.take_request("INVITE")
    assert (invite.via.transport, invite.via.host, invite.via.port) == ("TCP", "2001:db8::5", 5070)
    assert invite.headers.get("Contact") == "<sip:[2001:db8::5]:5070;transport=tcp>"


def test_progress_then_answer_then_ack(rig: Rig) -> None:
    leg = rig.call()
    invite = rig.take_request("INVITE")
    for status in (100, 180, 183):
        rig.receive(response(invite, status))
    rig.receive(response(invite, 200))
    events = rig.take_events()
    assert [type(event) for event in events] == [ProvisionalReceived] * 3 + [AnswerReceived]
    assert isinstance(events[-1], AnswerReceived)
    assert events[-1].response.body == ANSWER
    ack = rig.take_request("ACK")
    assert (ack.uri, ack.cseq, ack.to_tag) == ("sip:agent@192.0.2.10:5060", 1, "agent")
    assert ack.branch != invite.branch
    assert leg.answered
    assert leg.remote_contact == "sip:agent@192.0.2.10:5060"


def test_the_ack_goes_along_the_reversed_route(rig: Rig) -> None:
    rig.call()
    invite = rig.take_request("INVITE")
    routes = ("<sip:192.0.2.1;lr>", "<sip:192.0.2.2:5070;lr>")
    rig.receive(response(invite, 200, record_route=routes))
    assert rig.flows() == [Flow("udp", "192.0.2.2", 5070)]
    assert rig.take_request("ACK").headers.get_all("Route") == list(routes[::-1])


def test_without_an_offer_the_owner_acknowledges_with_an_answer(rig: Rig) -> None:
    leg = rig.call(body=b"")
    invite = rig.take_request("INVITE")
    assert "Content-Type" not in invite.headers
    rig.receive(response(invite, 200, body=OFFER))
    assert rig.take() == []
    rig.receive(response(invite, 200, body=OFFER))
    assert rig.take() == []
    leg.ack(ANSWER)
    ack = rig.take_request("ACK")
    assert (ack.body, ack.headers.get("Content-Type")) == (ANSWER, "application/sdp")
    rig.receive(response(invite, 200, body=OFFER))
    assert rig.take_request("ACK").to_bytes() == ack.to_bytes()
    with pytest.raises(LegStateError):
        leg.ack(ANSWER)


def test_hanging_up_on_an_offer_nobody_answered_confirms_it_first(rig: Rig) -> None:
    leg = rig.call(body=b"")
    invite = rig.take_request("INVITE")
    rig.receive(response(invite, 200, body=OFFER))
    leg.hangup()
    ack, bye = rig.take()
    assert (ack.cseq_method, bye.cseq_method) == ("ACK", "BYE")


@pytest.mark.parametrize("status", [300, 302, 404, 486, 503, 603])
def test_a_refusal_is_told_and_leaves_nothing(rig: Rig, status: int) -> None:
    leg = rig.call()
    invite = rig.take_request("INVITE")
    rig.receive(response(invite, status, extra="Reason: Q.850;cause=17"))
    rig.take_request("ACK")
    (event,) = rig.take_events()
    assert isinstance(event, FailureReceived)
    assert (event.status, event.reason, event.cause) == (status, "Whatever", "response")
    assert event.response is not None
    assert event.response.headers.get("Reason") == "Q.850;cause=17"
    assert leg.ended
    assert rig.ua.leg_count == 0
    rig.advance(64)
    rig.assert_idle()


def test_silence_is_408(rig: Rig) -> None:
    leg = rig.call()
    rig.advance(32)
    assert rig.take_events() == [FailureReceived(leg, 408, "Request Timeout", "timeout", None)]
    rig.assert_idle()


def test_a_transport_failure_is_503_at_once(rig: Rig) -> None:
    leg = rig.call()
    rig.ua.transport_failed(PEER, "unreachable")
    assert rig.take_events() == [FailureReceived(leg, 503, "Service Unavailable", "transport", None)]
    rig.assert_idle()


def test_a_large_invite_goes_by_tcp_and_the_dialog_stays_where_it_was_asked_for(rig: Rig) -> None:
    leg = rig.call(body=b"x" * UDP_REQUEST_LIMIT)
    assert rig.flows() == [Flow("tcp", PEER.host, PEER.port)]
    invite = rig.take_request("INVITE")
    assert invite.headers.get("Contact") == "<sip:198.51.100.1:5060>"
    rig.receive(response(invite, 200))
    assert rig.flows() == [PEER]
    rig.take_request("ACK")
    leg.hangup((("Reason", "SIP;cause=200"),))
    assert rig.flows() == [PEER]


def test_a_large_invite_falls_back_to_udp_when_tcp_is_refused(rig: Rig) -> None:
    leg = rig.call(body=b"x" * UDP_REQUEST_LIMIT)
    rig.take()
    rig.ua.transport_failed(Flow("tcp", PEER.host, PEER.port), "refused")
    assert rig.flows() == [PEER]
    again = rig.take_request("INVITE")
    assert again.via.transport == "UDP"
    rig.receive(response(again, 200))
    assert leg.answered


def test_cancel_waits_for_a_provisional_response(rig: Rig) -> None:
    leg = rig.call()
    invite = rig.take_request("INVITE")
    leg.cancel((("Reason", "SIP;cause=200"),))
    assert rig.take() == []
    rig.receive(response(invite, 100))
    cancel = rig.take_request("CANCEL")
    assert (cancel.uri, cancel.branch, cancel.cseq) == (invite.uri, invite.branch, 1)
    assert cancel.headers.get_all("Via") == invite.headers.get_all("Via")
    assert cancel.headers.get("To") == invite.headers.get("To")
    assert cancel.headers.get("Reason") == "SIP;cause=200"
    assert rig.take_events() == []
    rig.receive(response(cancel, 200))
    rig.receive(response(invite, 487))
    rig.take_request("ACK")
    (event,) = rig.take_events()
    assert isinstance(event, FailureReceived)
    assert (event.leg, event.status, event.cause) == (leg, 487, "response")
    rig.advance(64)
    rig.assert_idle()


def test_cancel_is_sent_once(rig: Rig) -> None:
    leg, invite = ringing(rig)
    leg.cancel()
    leg.cancel()
    leg.hangup()
    rig.receive(response(invite, 183))
    assert len(rig.take()) == 1
    assert rig.take_events() == []


def test_a_cancelled_call_that_is_never_finished_is_forgotten(rig: Rig) -> None:
    leg, _ = ringing(rig)
    leg.cancel()
    rig.receive(response(rig.take_request("CANCEL"), 200))
    rig.advance(31.9)
    assert rig.take_events() == []
    rig.advance(0.1)
    assert rig.take_events() == [FailureReceived(leg, 408, "Request Timeout", "timeout", None)]
    rig.assert_idle()


def test_a_cancelled_call_refused_before_any_provisional_response_needs_no_cancel(rig: Rig) -> None:
    leg = rig.call()
    invite = rig.take_request("INVITE")
    leg.cancel()
    rig.receive(response(invite, 486))
    rig.take_request("ACK")
    assert len(rig.take_events()) == 1
    assert leg.ended


def test_cancel_after_an_answer_is_a_mistake(rig: Rig) -> None:
    leg, _ = connect(rig)
    with pytest.raises(LegStateError):
        leg.cancel()


@pytest.mark.parametrize("verb", ["reinvite", "info"])
def test_before_an_answer_the_late_verbs_are_mistakes(rig: Rig, verb: str) -> None:
    leg, _ = ringing(rig)
    with pytest.raises(LegStateError):
        leg.reinvite(OFFER) if verb == "reinvite" else leg.info("text/plain", b"")


def test_hangup_says_bye(rig: Rig) -> None:
    leg, _ = connect(rig)
    leg.hangup()
    bye = rig.take_request("BYE")
    assert (bye.cseq, bye.from_tag, bye.to_tag) == (2, leg.local_tag, "agent")
    rig.receive(response(bye, 200))
    assert rig.take_events() == [LegEnded(leg)]
    rig.advance(64)
    rig.assert_idle()


def test_the_agents_bye_is_answered_and_told(rig: Rig) -> None:
    leg, _ = connect(rig)
    rig.receive(from_agent(leg, "BYE"))
    rig.take_response(200)
    assert rig.take_events() == [HungUp(leg, None)]
    rig.advance(64)
    rig.assert_idle()


def test_the_agents_bye_that_overtakes_its_200_comes_too_early(rig: Rig) -> None:
    leg, invite = ringing(rig)
    rig.receive(from_agent(leg, "BYE"))
    rig.take_response(481)
    rig.receive(response(invite, 200))
    assert leg.answered


def test_inside_an_early_dialog_info_and_options_are_taken_and_an_invite_is_not(rig: Rig) -> None:
    leg, _ = ringing(rig)
    rig.receive(from_agent(leg, "INFO"))
    rig.take_response(200)
    (event,) = rig.take_events()
    assert isinstance(event, InfoReceived)
    rig.receive(from_agent(leg, "OPTIONS", branch="z9hG4bKo"))
    rig.take_response(200)
    rig.receive(from_agent(leg, "INVITE", branch="z9hG4bKi"))
    rig.take_response(491)
    rig.receive(from_agent(leg, "INFO", branch="z9hG4bKx", tag="nobody"))
    rig.take_response(481)


def test_several_early_dialogs_ring_and_one_answers(rig: Rig) -> None:
    leg = rig.call()
    invite = rig.take_request("INVITE")
    for tag in ("one", "two", "three"):
        rig.receive(response(invite, 180, tag=tag))
    rig.receive(response(invite, 200, tag="two"))
    tags = [event.response.to_tag for event in rig.take_events() if hasattr(event, "response")]
    assert tags == ["one", "two", "three", "two"]
    assert rig.take_request("ACK").to_tag == "two"
    rig.receive(from_agent(leg, "BYE", tag="three"))
    rig.take_response(481)
    rig.receive(from_agent(leg, "BYE", tag="two", branch="z9hG4bK2"))
    rig.take_response(200)


def test_more_forks_than_anybody_has_are_not_followed(rig: Rig) -> None:
    _, invite = connect(rig)
    for number in range(40):
        rig.receive(response(invite, 200, tag=f"fork{number}"))
    byes = [message for message in rig.take() if message.cseq_method == "BYE"]
    assert len(byes) == 16


def test_an_answer_without_a_contact_can_still_be_hung_up(rig: Rig) -> None:
    leg = rig.call()
    invite = rig.take_request("INVITE")
    rig.receive(response(invite, 200, contact=None))
    rig.take_request("ACK")
    leg.hangup()
    assert rig.take_request("BYE").uri == "sip:agent@192.0.2.10"


def test_a_2xx_repeated_after_the_call_is_over_is_still_confirmed(rig: Rig) -> None:
    leg, invite = connect(rig)
    leg.hangup()
    rig.receive(response(rig.take_request("BYE"), 200))
    assert rig.ua.leg_count == 0
    rig.receive(response(invite, 200))
    rig.take_request("ACK")
    rig.receive(response(invite, 200, tag="fork"))
    assert [message.cseq_method for message in rig.take()] == ["ACK", "BYE"]


def test_a_connection_that_ends_while_it_rings_ends_no_call(rig: Rig) -> None:
    """The agent may answer on a new connection (§18.2.2); if it has died, the ring timeout will tell."""
    stream = Flow("tcp", "192.0.2.10", 5060, 4)
    leg = rig.call(stream)
    invite = rig.take_request("INVITE")
    rig.receive(response(invite, 180), stream)
    rig.ua.transport_failed(stream, "closed")
    rig.receive(response(invite, 200), stream._replace(channel=5))
    assert leg.answered


def whole_calls(rig: Rig) -> None:
    """A call of ours and one to us, with a change of the session in each, from INVITE to the last timer."""
    leg, _ = connect(rig)
    leg.reinvite(OFFER)
    rig.receive(response(rig.take_request("INVITE"), 200))
    rig.take_request("ACK")
    leg.hangup()
    rig.receive(response(rig.take_request("BYE"), 200))
    rig.receive(request())
    inbound = rig.legs.pop()
    inbound.ring()
    inbound.answer(ANSWER)
    rig.receive(request("ACK", branch="z9hG4bKa", to_tag=inbound.local_tag))
    rig.receive(request("INVITE", branch="z9hG4bKi", cseq=2, to_tag=inbound.local_tag))
    inbound.answer_reinvite(ANSWER)
    rig.receive(request("BYE", branch="z9hG4bKb", cseq=3, to_tag=inbound.local_tag))
    rig.take()
    rig.take_events()
    rig.advance(64)


def test_a_finished_call_is_free_without_the_garbage_collector(rig: Rig) -> None:
    """Legs, transactions and messages must not hold each other: they would stay until a collection."""
    whole_calls(rig)
    gc.freeze()  # what other tests have left behind is not looked through
    gc.disable()
    try:
        whole_calls(rig)
        rig.assert_idle()
        assert gc.collect() == 0
    finally:
        gc.enable()
        gc.unfreeze()


def test_verbs_on_a_leg_that_has_ended_do_nothing(rig: Rig) -> None:
    leg, _ = connect(rig)
    rig.receive(from_agent(leg, "BYE"))
    rig.take()
    leg.hangup()
    leg.cancel()
    leg.info("text/plain", b"")
    leg.reinvite(OFFER)
    leg.ack(b"")
    leg.answer_reinvite(ANSWER)
    leg.refuse_reinvite(488)
    assert rig.take() == []


def test_a_request_outside_of_dialogs_tells_its_result_once(rig: Rig) -> None:
    results: list[tuple[Response | None, str]] = []
    rig.ua.request(
        "OPTIONS",
        "sip:agent@192.0.2.10",
        PEER,
        headers=(("X-Probe", "1"),),
        on_result=lambda result, cause: results.append((result, cause)),
    )
    options = rig.take_request("OPTIONS")
    assert (options.uri, options.headers.get("X-Probe")) == ("sip:agent@192.0.2.10", "1")
    assert options.from_tag
    rig.receive(response(options, 100))
    assert results == []
    rig.receive(response(options, 503))
    rig.receive(response(options, 200))
    ((answer, cause),) = results
    assert answer is not None
    assert (answer.status, cause) == (503, "response")
    rig.advance(5)
    rig.assert_idle()


@pytest.mark.parametrize("cause", ["timeout", "transport"])
def test_a_request_outside_of_dialogs_tells_why_there_is_no_response(rig: Rig, cause: str) -> None:
    results: list[tuple[Response | None, str]] = []
    rig.ua.request(
        "OPTIONS", "sip:x@192.0.2.10", PEER, on_result=lambda result, why: results.append((result, why))
    )
    if cause == "transport":
        rig.ua.transport_failed(PEER, "refused")
    rig.advance(32)
    assert results == [(None, cause)]
    rig.assert_idle()

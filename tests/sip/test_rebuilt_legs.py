"""Legs of calls that another process answered: what their peers send is answered as if it had been us."""

from __future__ import annotations

import msgspec
import pytest

from gateway.sip.events import HungUp, LegEnded, ReinviteReceived, SessionExpired, SessionRefreshed
from gateway.sip.extensions import Extensions
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.leg import Leg, LegStateError
from gateway.sip.leg_state import LegState
from gateway.sip.message import Request
from gateway.sip.rebuilt_legs import CSEQ_GAP, RebuiltInboundLeg, RebuiltLeg, RebuiltOutboundLeg
from tests.sip.rig import (
    ANSWER,
    OFFER,
    PEER,
    PEER_TCP,
    Rig,
    connect,
    establish,
    request,
    response,
)

ROUTES = ("<sip:edge.example.com;lr>", "<sip:core.example.com;lr>")


def moved(leg: Leg, extensions: Extensions | None = None) -> tuple[Rig, RebuiltLeg]:
    """The leg in another process, where its state has come through storage."""
    kept = msgspec.msgpack.encode(leg.state)
    rig = Rig(extensions)
    rig.clock.now = 5000.0  # another machine's
    state = msgspec.msgpack.decode(kept, type=LegState)
    return rig, rig.ua.rebuild(state, PEER, peer="carrier", listener=rig.events.append)


def of_caller() -> tuple[Rig, RebuiltInboundLeg]:
    rig, leg = moved(establish(Rig()))
    assert isinstance(leg, RebuiltInboundLeg)
    return rig, leg


def in_dialog(leg: Leg, method: str, cseq: int, *, branch: str = "z9hG4bKlater", **fields: object) -> bytes:
    if isinstance(leg, InboundLeg):
        return request(method, cseq=cseq, to_tag=leg.local_tag, branch=branch, **fields)  # type: ignore[arg-type]
    return request(
        method,
        cseq=cseq,
        to_tag=leg.local_tag,
        from_tag="agent",
        call_id=leg.call_id,
        branch=branch,
        **fields,
    )  # type: ignore[arg-type]


def of_agent() -> tuple[Rig, RebuiltOutboundLeg]:
    rig, leg = moved(connect(Rig())[0])
    assert isinstance(leg, RebuiltOutboundLeg)
    return rig, leg


@pytest.mark.parametrize("make", [of_caller, of_agent])
def test_a_goodbye_is_answered_and_told(make):
    rig, leg = make()
    rig.receive(in_dialog(leg, "BYE", 7))
    rig.take_response(200)
    (event,) = rig.take_events()
    assert isinstance(event, HungUp)
    rig.receive(in_dialog(leg, "BYE", 7))  # once more: nothing is told twice
    rig.take_response(200)
    assert not rig.take_events()
    rig.advance(40)
    rig.assert_idle()


@pytest.mark.parametrize("make", [of_caller, of_agent])
def test_our_goodbye_goes_the_old_way_with_a_number_that_was_never_used(make):
    rig, leg = make()
    leg.hangup((("Reason", "SIP;cause=503"),))
    bye = rig.take_request("BYE")
    assert bye.cseq > CSEQ_GAP
    assert (bye.call_id, bye.from_tag, bye.to_tag) == (leg.call_id, leg.local_tag, leg.remote_tag)
    assert bye.uri == leg.remote_contact
    rig.receive(response(bye, 200))
    (event,) = rig.take_events()
    assert isinstance(event, LegEnded)
    rig.advance(40)
    rig.assert_idle()


def test_routes_and_the_transport_are_kept():
    before = Rig()
    before.receive(request(extra=f"Record-Route: {', '.join(ROUTES)}"), PEER_TCP)
    leg = before.legs[-1]
    leg.answer(ANSWER)
    state = leg.state
    assert state.routes == ROUTES
    assert (state.transport, state.host, state.port) == PEER_TCP[:3]
    rig = Rig()
    rig.names["edge.example.com"] = "192.0.2.99"
    rig.ua.rebuild(state, PEER_TCP._replace(channel=0), peer=None, listener=rig.events.append).hangup()
    ((_, flow, data),) = rig.sink.sent
    assert flow.host == "192.0.2.99"
    assert f"Route: {ROUTES[0]}\r\nRoute: {ROUTES[1]}\r\n".encode() in data


@pytest.mark.parametrize("make", [of_caller, of_agent])
def test_an_offer_of_the_peers_is_told_and_answered(make):
    rig, leg = make()
    rig.receive(in_dialog(leg, "INVITE", 9))
    rig.take_response(100)
    (event,) = rig.take_events()
    assert isinstance(event, ReinviteReceived)
    leg.answer_reinvite(ANSWER)
    rig.take_response(200)
    rig.receive(in_dialog(leg, "ACK", 9, branch="z9hG4bKack"))
    rig.take_events()
    leg.reinvite(OFFER)  # and one of ours is sent
    assert rig.take_request("INVITE").body == OFFER


def test_an_older_request_than_was_known_is_refused():
    before = Rig()
    leg = establish(before)
    before.receive(in_dialog(leg, "INFO", 8))
    rig, rebuilt = moved(leg)
    rig.receive(in_dialog(rebuilt, "BYE", 5))
    rig.take_response(500)
    assert not rebuilt.ended


@pytest.mark.parametrize("make", [of_caller, of_agent])
def test_a_peer_that_answers_whether_it_is_there_goes_on(make):
    rig, leg = make()
    leg.refresh()
    asked = rig.take_request("INVITE")
    assert asked.body == leg.described  # nothing changes for it
    rig.receive(response(asked, 200, tag=None, body=ANSWER))
    rig.take_request("ACK")
    (event,) = rig.take_events()
    assert isinstance(event, SessionRefreshed)
    assert not leg.ended


def test_a_peer_that_takes_update_is_asked_by_it():
    before = Rig()
    before.receive(request(extra="Allow: INVITE, ACK, BYE, UPDATE"))
    leg = before.legs[-1]
    leg.answer(ANSWER)
    before.receive(request("ACK", branch="z9hG4bKack1", to_tag=leg.local_tag))
    rig, rebuilt = moved(leg)
    rebuilt.refresh()
    assert rig.take_request("UPDATE").body == b""


@pytest.mark.parametrize("make", [of_caller, of_agent])
def test_a_peer_that_knows_of_no_call_has_hung_up_unheard(make):
    rig, leg = make()
    leg.refresh()
    rig.receive(response(rig.take_request("INVITE"), 481, tag=None))
    rig.take_request("ACK")
    (event,) = rig.take_events()
    assert isinstance(event, LegEnded)
    rig.advance(40)
    rig.assert_idle()


def test_a_peer_that_refuses_the_question_is_there():
    rig, leg = of_caller()
    leg.refresh()
    rig.receive(response(rig.take_request("INVITE"), 488, tag=None))
    rig.take_request("ACK")
    assert not rig.take_events()
    assert not leg.ended


@pytest.mark.parametrize("unreachable", [False, True])
def test_a_peer_that_is_not_there_any_more_ends_the_leg(unreachable):
    rig, leg = of_caller()
    leg.refresh()
    if unreachable:
        rig.ua.transport_failed(PEER, "nobody listens")
    else:
        rig.advance(33)
    events = rig.take_events()
    assert isinstance(events[0], SessionExpired)
    assert any(isinstance(each, Request) and each.method == "BYE" for each in rig.take())
    rig.advance(80)
    assert isinstance(rig.take_events()[-1], LegEnded)
    rig.assert_idle()


def test_a_peer_that_was_heard_is_not_given_up_for_one_failure():
    rig, leg = of_caller()
    rig.receive(in_dialog(leg, "INFO", 9))
    rig.take_response(200)
    rig.take_events()
    leg.refresh()
    rig.ua.transport_failed(PEER, "nobody listens")
    assert not leg.ended


@pytest.mark.parametrize("ours", [True, False])
def test_the_session_timer_runs_on(ours):
    extensions = Extensions(session_expires=200)
    before = Rig(extensions)
    refresher = "uas" if ours else "uac"
    before.receive(request(extra=f"Supported: timer\nSession-Expires: 200;refresher={refresher}"))
    leg = before.legs[-1]
    leg.answer(ANSWER)
    before.receive(request("ACK", branch="z9hG4bKack1", to_tag=leg.local_tag))
    timer = leg.state.timer
    assert timer is not None
    assert (timer.interval, timer.ours, timer.agreed) == (200, ours, True)
    rig, rebuilt = moved(leg, extensions)
    if ours:  # we show that we are there
        rig.advance(100.1)
        asked = rig.take_request("INVITE")
        assert asked.headers.get("Session-Expires") == "200;refresher=uac"
    else:  # and who does not is given up
        rig.advance(168.1)
        rig.take_request("BYE")
        assert isinstance(rig.take_events()[0], SessionExpired)
        assert rebuilt.ended


def test_what_is_not_kept_is_not_repeated():
    leg = establish(Rig())
    rig = Rig()
    state = leg.state._replace(described=b"")
    rebuilt = rig.ua.rebuild(state, PEER, peer=None, listener=rig.events.append)
    rebuilt.refresh()
    assert not rig.take()


def test_a_dialog_is_rebuilt_once():
    leg = establish(Rig())
    rig, _ = moved(leg)
    with pytest.raises(LegStateError):
        rig.ua.rebuild(leg.state, PEER, peer=None, listener=rig.events.append)
    assert rig.ua.leg_count == 1


def test_there_is_room_for_so_many(monkeypatch):
    state = establish(Rig()).state
    monkeypatch.setattr("gateway.sip.user_agent.MAX_LEGS", 0)
    with pytest.raises(LegStateError):
        Rig().ua.rebuild(state, PEER, peer=None, listener=lambda event: None)


def test_verbs_of_the_first_invite_are_out_of_order():
    _, leg = of_caller()
    for verb in (lambda: leg.ring(), lambda: leg.answer(ANSWER), lambda: leg.refuse(486)):
        with pytest.raises(LegStateError):
            verb()
    _, agent = of_agent()
    with pytest.raises(LegStateError):
        agent.cancel()


def test_before_an_answer_an_agents_leg_has_nothing_to_keep():
    rig = Rig()
    with pytest.raises(LegStateError):
        _ = rig.call().state


@pytest.mark.parametrize("make", [lambda rig: establish(rig), lambda rig: connect(rig)[0]])
def test_a_leg_that_is_forgotten_says_nothing_and_hears_nothing(make):
    rig = Rig()
    leg = make(rig)
    leg.reinvite(OFFER)
    rig.take_request("INVITE")
    leg.forget()
    leg.forget()
    leg.hangup()
    assert leg.ended
    rig.advance(40)
    assert not [each for each in rig.take() if isinstance(each, Request) and each.method == "BYE"]
    assert not rig.take_events()
    rig.receive(in_dialog(leg, "BYE", 9))
    rig.take_response(481)
    rig.advance(300)
    rig.assert_idle()

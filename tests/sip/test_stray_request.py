"""Requests in dialogs that are not here, while somebody looks for them."""

from __future__ import annotations

import pytest

from gateway.sip.events import HungUp
from gateway.sip.stray_request import MAX_STRAYS, PATIENCE, StrayRequest
from gateway.sip.user_agent import UserAgent
from tests.sip.rig import PEER, Rig, counting_tokens, establish, request


class SearchingRig(Rig):
    """Somebody is asked for dialogs that are not here; the test answers for it."""

    def __init__(self) -> None:
        super().__init__()
        self.strays: list[StrayRequest] = []
        self.ua = UserAgent(
            self.sink,
            self.clock,
            counting_tokens(),
            on_invite=self._on_invite,
            on_stray=self.strays.append,
        )


def bye(tag: str, *, branch: str = "z9hG4bKbye", method: str = "BYE") -> bytes:
    return request(method, cseq=9, to_tag=tag, branch=branch)


def test_nobody_looks_and_there_is_no_such_dialog():
    rig = Rig()
    rig.receive(bye("elsewhere"))
    rig.take_response(481)


def test_what_is_found_takes_the_request():
    leg = establish(Rig())
    rig = SearchingRig()
    rig.receive(bye(leg.local_tag))
    (stray,) = rig.strays
    assert (stray.call_id, stray.local_tag, stray.method) == (leg.call_id, leg.local_tag, "BYE")
    assert not rig.take()
    rig.ua.rebuild(leg.state, PEER, peer=None, listener=rig.events.append)
    stray.settle()
    stray.settle()
    rig.take_response(200)
    (event,) = rig.take_events()
    assert isinstance(event, HungUp)
    rig.advance(40)
    rig.assert_idle()


def test_what_a_request_is_about_is_known_before_it_is_taken_in():
    """So that a worker can be asked whether it has what a sibling has read."""
    rig = Rig()
    leg = establish(rig)
    assert rig.ua.knows(bye(leg.local_tag))
    assert not rig.ua.knows(bye("elsewhere"))
    assert not rig.ua.knows(b"no message")
    assert not rig.ua.knows(b"SIP/2.0 200 OK\r\n\r\n")
    rig.receive(bye(leg.local_tag))
    rig.take_response(200)
    assert rig.ua.knows(bye(leg.local_tag)), "a repetition of what has ended the call"
    assert not rig.ua.knows(bye(leg.local_tag, branch="z9hG4bKother"))


def test_what_is_not_found_is_answered_once():
    rig = SearchingRig()
    rig.receive(bye("elsewhere"))
    rig.receive(bye("elsewhere"))  # a repetition while somebody looks: nobody is asked again
    assert rig.sink.retransmissions["in"] == 1
    (stray,) = rig.strays
    stray.settle()
    rig.take_response(481)
    assert rig.ua.stray_count == 0
    rig.assert_idle()


def test_whoever_looks_for_too_long_is_not_waited_for():
    rig = SearchingRig()
    rig.receive(bye("elsewhere"))
    rig.advance(PATIENCE + 0.01)
    rig.take_response(481)
    rig.strays[0].settle()
    assert not rig.take()
    rig.assert_idle()


def test_so_many_wait_and_no_more():
    rig = SearchingRig()
    for number in range(MAX_STRAYS + 3):
        rig.receive(bye("elsewhere", branch=f"z9hG4bK{number}"))
    assert len(rig.strays) == rig.ua.stray_count == MAX_STRAYS
    assert [each.status for each in rig.take()] == [481, 481, 481]
    rig.advance(PATIENCE + 0.01)
    assert rig.ua.stray_count == 0


def test_an_acknowledgement_of_a_stranger_asks_nobody():
    rig = SearchingRig()
    rig.receive(bye("elsewhere", method="ACK"))
    assert not rig.strays
    assert rig.sink.drops == ["stray_ack"]


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO"])
def test_whatever_is_found_too_late_for_is_answered_by_what_it_is(method):
    leg = establish(Rig())
    rig = SearchingRig()
    rig.receive(request(method, cseq=9, to_tag=leg.local_tag, branch="z9hG4bKlater"))
    rebuilt = rig.ua.rebuild(leg.state, PEER, peer=None, listener=rig.events.append)
    rebuilt.hangup()
    rig.take_request("BYE")
    rig.strays[0].settle()
    rig.take_response(481)

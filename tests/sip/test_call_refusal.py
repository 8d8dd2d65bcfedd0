"""New calls refused at the door: nothing is remembered of them, and everything under way goes on."""

from __future__ import annotations

from gateway.sip.events import HungUp, ReinviteReceived
from gateway.sip.message import Request, Response
from gateway.sip.user_agent import MAX_LEGS
from tests.sip.rig import OFFER, Rig, establish, request

FULL = (503, (("Retry-After", "7"),))


def test_a_refused_call_leaves_nothing_behind() -> None:
    rig = Rig()
    rig.refusal = FULL
    for _ in range(2):  # a repetition is judged anew
        rig.receive(request())
        refusal = rig.take_response(503)
        assert refusal.headers.get("Retry-After") == "7"
        assert refusal.to_tag
    rig.receive(request("ACK", to_tag=refusal.to_tag))
    assert not rig.take()
    assert not rig.legs
    rig.assert_idle()


def test_calls_under_way_go_on() -> None:
    rig = Rig()
    leg = establish(rig)
    rig.refusal = FULL
    rig.receive(request(branch="z9hG4bKagain", cseq=2, to_tag=leg.local_tag, body=OFFER))
    assert isinstance(rig.take_events()[0], ReinviteReceived)
    leg.answer_reinvite(OFFER)
    rig.receive(request("ACK", branch="z9hG4bKack2", cseq=2, to_tag=leg.local_tag))
    rig.receive(request("BYE", branch="z9hG4bKbye", cseq=3, to_tag=leg.local_tag))
    assert isinstance(rig.take_events()[-1], HungUp)
    methods = {message.cseq_method for message in rig.take() if isinstance(message, Response)}
    assert methods == {"INVITE", "BYE"}


def test_an_invite_that_comes_again_is_no_new_call() -> None:
    rig = Rig()
    rig.receive(request())
    rig.take()
    rig.refusal = FULL
    rig.receive(request())
    rig.take_response(100)
    assert len(rig.legs) == 1


def test_a_second_copy_of_a_call_is_answered_as_the_first_one_is() -> None:
    rig = Rig()
    rig.receive(request())
    rig.take()
    rig.refusal = FULL
    rig.receive(request(branch="z9hG4bKother"))
    assert rig.legs[1].merged_with is rig.legs[0]


def test_options_are_answered() -> None:
    rig = Rig()
    rig.refusal = FULL
    rig.receive(request("OPTIONS"))
    rig.take_response(200)


def test_how_full_the_tables_are() -> None:
    rig = Rig()
    assert rig.ua.fill == 0
    establish(rig)
    assert rig.ua.fill == 1 / MAX_LEGS
    rig.call()
    assert isinstance(rig.take_one(), Request)
    assert rig.ua.fill == 2 / MAX_LEGS

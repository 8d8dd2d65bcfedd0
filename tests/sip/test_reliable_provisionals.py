"""Provisional responses that must be confirmed (RFC 3262): ours to callers, and agents' to us."""

from __future__ import annotations

import pytest

from gateway.sip.events import (
    AckReceived,
    AnswerReceived,
    HungUp,
    InviteCancelled,
    LegEnded,
    ProvisionalReceived,
    ReinviteReceived,
)
from gateway.sip.extensions import Extensions
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.leg import LegStateError
from gateway.sip.message import Request, Response
from tests.sip.rig import ANSWER, OFFER, Rig, request, response

REQUIRED = "Require: 100rel"


def ringing(rig: Rig, body: bytes = ANSWER) -> tuple[InboundLeg, int]:
    """A caller who requires confirmation, and the RSeq of its 183 (or 180)."""
    rig.receive(request(extra=REQUIRED))
    leg = rig.legs[-1]
    leg.ring(183 if body else 180, body=body)
    _, provisional = rig.take()
    return leg, rseq_of(provisional)


def rseq_of(message: Request | Response) -> int:
    assert message.headers.get("Require") == "100rel"
    return int(message.headers.get("RSeq") or "")


def prack(leg: InboundLeg, rseq: int, cseq: int = 2, body: bytes = b"", invite: str = "1 INVITE") -> bytes:
    return request(
        "PRACK",
        branch=f"z9hG4bKp{cseq}",
        cseq=cseq,
        to_tag=leg.local_tag,
        extra=f"RAck: {rseq} {invite}",
        body=body,
    )


class TestOurs:
    """§3: the UAS's side."""

    def test_sent_until_confirmed(self, rig: Rig) -> None:
        leg, rseq = ringing(rig)
        rig.advance(3.4)
        repeated = rig.take()
        assert len(repeated) == 2  # after 0.5 and 1.5 s; 3.5 would be next
        assert {rseq_of(each) for each in repeated} == {rseq}
        rig.receive(prack(leg, rseq))
        rig.take_response(200)
        rig.advance(30)
        assert rig.take() == []
        assert rig.take_events() == []
        leg.answer(ANSWER)
        rig.take_response(200)

    def test_nobody_who_does_not_ask_gets_it(self, rig: Rig) -> None:
        rig.receive(request(extra="Supported: 100rel"))
        rig.legs[-1].ring()
        _, provisional = rig.take()
        assert "RSeq" not in provisional.headers

    def test_by_policy_whoever_can(self) -> None:
        rig = Rig(Extensions(reliable="supported"))
        rig.receive(request(extra="Supported: timer, 100rel"))
        rig.legs[-1].ring()
        assert rseq_of(rig.take()[-1]) > 0

    def test_by_policy_nobody(self) -> None:
        rig = Rig(Extensions(reliable="off"))
        rig.receive(request(extra=REQUIRED))
        assert rig.take_response(420).headers.get("Unsupported") == "100rel"

    def test_the_second_waits_for_the_first(self, rig: Rig) -> None:
        leg, rseq = ringing(rig, b"")
        leg.ring(183, body=ANSWER)
        leg.ring(180)
        assert rig.take() == []
        rig.receive(prack(leg, rseq))
        second, final = rig.take()
        assert isinstance(second, Response)
        assert isinstance(final, Response)
        assert (second.status, second.body, rseq_of(second)) == (183, ANSWER, rseq + 1)
        assert (final.status, final.cseq_method) == (200, "PRACK")

    def test_an_answer_waits_for_the_session_to_be_confirmed(self, rig: Rig) -> None:
        leg, rseq = ringing(rig)
        leg.answer(ANSWER)
        assert rig.take() == []
        assert leg.answered
        with pytest.raises(LegStateError):
            leg.answer(ANSWER)
        with pytest.raises(LegStateError):
            leg.ring()
        rig.receive(prack(leg, rseq))
        final, confirmed = rig.take()
        assert isinstance(final, Response)
        assert isinstance(confirmed, Response)
        assert {(each.status, each.cseq_method) for each in (final, confirmed)} == {
            (200, "INVITE"),
            (200, "PRACK"),
        }
        rig.receive(request("ACK", branch="z9hG4bKa", to_tag=leg.local_tag))
        assert [type(event) for event in rig.take_events()] == [AckReceived]

    def test_an_answer_does_not_wait_for_a_mere_180(self, rig: Rig) -> None:
        leg, rseq = ringing(rig, b"")
        leg.answer(ANSWER)
        rig.take_response(200)
        rig.receive(prack(leg, rseq))  # which is still welcome (§3)
        assert rig.take_response(200).cseq_method == "PRACK"
        rig.advance(5)
        assert {each.status for each in rig.take() if isinstance(each, Response)} == {200}

    @pytest.mark.parametrize(
        ("off", "invite"), [(1, "1 INVITE"), (-1, "1 INVITE"), (0, "2 INVITE"), (0, "1 BYE")]
    )
    def test_a_prack_of_nothing_is_told_so(self, rig: Rig, off: int, invite: str) -> None:
        leg, rseq = ringing(rig)
        rig.receive(prack(leg, rseq + off, invite=invite))
        rig.take_response(481)
        rig.receive(prack(leg, rseq, cseq=3))
        rig.take_response(200)
        rig.receive(prack(leg, rseq, cseq=4))
        rig.take_response(481)

    @pytest.mark.parametrize("rack", ["RAck: x 1 INVITE", "RAck: 1", "X: y"])
    def test_a_prack_that_cannot_be_read(self, rig: Rig, rack: str) -> None:
        leg, _ = ringing(rig)
        rig.receive(request("PRACK", branch="z9hG4bKp", cseq=2, to_tag=leg.local_tag, extra=rack))
        rig.take_response(400)

    def test_a_prack_that_comes_again_gets_the_same(self, rig: Rig) -> None:
        leg, rseq = ringing(rig)
        for _ in range(2):
            rig.receive(prack(leg, rseq))
            rig.take_response(200)

    def test_a_caller_who_never_confirms_is_given_up(self, rig: Rig) -> None:
        leg, _ = ringing(rig)
        rig.advance(32)
        refusal = rig.take()[-1]
        assert isinstance(refusal, Response)
        assert refusal.status == 504
        assert rig.take_events() == [LegEnded(leg)]
        rig.receive(request("ACK", branch="z9hG4bKcaller1", to_tag=leg.local_tag))
        rig.advance(40)
        rig.assert_idle()

    def test_cancel_ends_it(self, rig: Rig) -> None:
        leg, rseq = ringing(rig)
        rig.receive(request("CANCEL"))
        assert [type(event) for event in rig.take_events()] == [InviteCancelled]
        rig.take()
        rig.receive(request("ACK", branch="z9hG4bKcaller1", to_tag=leg.local_tag))
        rig.receive(prack(leg, rseq))
        rig.take_response(481)
        rig.advance(40)
        assert rig.take() == []
        rig.assert_idle()

    def test_bye_ends_it(self, rig: Rig) -> None:
        leg, _ = ringing(rig)
        leg.answer(ANSWER)
        rig.receive(request("BYE", branch="z9hG4bKb", cseq=2, to_tag=leg.local_tag))
        assert {each.status for each in rig.take() if isinstance(each, Response)} == {200, 487}
        assert [type(event) for event in rig.take_events()] == [HungUp]

    def test_an_answer_held_back_can_be_taken_back(self, rig: Rig) -> None:
        leg, _ = ringing(rig)
        leg.answer(ANSWER)
        leg.hangup()
        rig.take_response(480)

    def test_the_invite_again_gets_the_provisional_again(self, rig: Rig) -> None:
        _, rseq = ringing(rig)
        rig.receive(request(extra=REQUIRED))
        assert rseq_of(rig.take_one()) == rseq

    def test_every_minute_a_new_one(self, rig: Rig) -> None:
        leg, rseq = ringing(rig)
        rig.receive(prack(leg, rseq))
        rig.take()
        rig.advance(60.1)
        again = rig.take_one()
        assert rseq_of(again) == rseq + 1
        assert again.body == b""

    def test_without_an_offer_there_is_nothing_to_answer_provisionally(self, rig: Rig) -> None:
        rig.receive(request(extra=REQUIRED, body=b""))
        rig.legs[-1].ring()
        rig.take_response(100)
        rig.legs[-1].answer(OFFER)
        rig.take_response(200)

    def test_an_offer_in_the_prack(self, rig: Rig) -> None:
        """§5: once the first offer is answered."""
        leg, rseq = ringing(rig)
        rig.receive(prack(leg, rseq, body=OFFER))
        (event,) = rig.take_events()
        assert isinstance(event, ReinviteReceived)
        leg.answer_reinvite(ANSWER)
        final = rig.take_response(200)
        assert (final.cseq_method, final.body) == ("PRACK", ANSWER)


class TestTheirs:
    """§4: the UAC's side."""

    def test_confirmed_in_the_early_dialog(self, rig: Rig) -> None:
        leg = rig.call()
        invite = rig.take_request("INVITE")
        rig.receive(response(invite, 183, extra="Require: 100rel\r\nRSeq: 7", body=ANSWER))
        sent = rig.take_request("PRACK")
        assert sent.headers.get("RAck") == f"7 {invite.cseq} INVITE"
        assert (sent.uri, sent.to_tag, sent.cseq) == ("sip:agent@192.0.2.10:5060", "agent", invite.cseq + 1)
        rig.receive(response(sent, 200))
        rig.receive(response(invite, 200, body=b""))
        rig.take_request("ACK")
        first, answer = rig.take_events()
        assert isinstance(first, ProvisionalReceived)
        assert isinstance(answer, AnswerReceived)
        assert answer.body == ANSWER  # told reliably, and not repeated
        leg.hangup()
        assert rig.take_request("BYE").cseq == sent.cseq + 1

    def test_a_repetition_is_not_confirmed_again(self, rig: Rig) -> None:
        rig.call()
        invite = rig.take_request("INVITE")
        again = response(invite, 180, extra="Require: 100rel\r\nRSeq: 7")
        rig.receive(again)
        rig.take_request("PRACK")
        rig.receive(again)
        assert rig.take() == []
        assert len(rig.take_events()) == 1

    def test_one_before_its_time_waits(self, rig: Rig) -> None:
        rig.call()
        invite = rig.take_request("INVITE")
        for rseq, answered in ((7, True), (9, False), (8, True), (9, True)):
            rig.receive(response(invite, 180, extra=f"Require: 100rel\r\nRSeq: {rseq}"))
            assert bool(rig.take()) is answered

    def test_without_require_it_is_a_mere_180(self, rig: Rig) -> None:
        rig.call()
        rig.receive(response(rig.take_request("INVITE"), 180, extra="RSeq: 7"))
        assert rig.take() == []

    def test_each_fork_for_itself(self, rig: Rig) -> None:
        rig.call()
        invite = rig.take_request("INVITE")
        for tag in ("one", "two"):
            rig.receive(
                response(invite, 183, tag=tag, extra="Require: 100rel\r\nRSeq: 1", body=ANSWER + tag.encode())
            )
            assert rig.take_request("PRACK").to_tag == tag
        rig.receive(response(invite, 200, tag="two", body=b""))
        rig.take_request("ACK")
        answer = rig.take_events()[-1]
        assert isinstance(answer, AnswerReceived)
        assert answer.body == ANSWER + b"two"
        rig.receive(response(invite, 200, tag="one"))  # the loser answers as well
        ack, bye = rig.take()
        assert isinstance(bye, Request)
        assert (bye.method, bye.to_tag, bye.cseq) == ("BYE", "one", invite.cseq + 2)
        assert ack.to_tag == "one"

    def test_cancel_goes_out_all_the_same(self, rig: Rig) -> None:
        leg = rig.call()
        invite = rig.take_request("INVITE")
        rig.receive(response(invite, 180, extra="Require: 100rel\r\nRSeq: 1"))
        rig.take()
        leg.hangup()
        rig.take_request("CANCEL")
        rig.receive(response(invite, 183, extra="Require: 100rel\r\nRSeq: 2"))
        rig.take_request("PRACK")  # the fork may wait for it before it says 487

    def test_our_invite_offers_it_only_with_an_offer(self, rig: Rig) -> None:
        rig.call()
        assert "100rel" in (rig.take_request("INVITE").headers.get("Supported") or "")
        rig.call(body=b"")
        assert rig.take_request("INVITE").headers.get("Supported") == "timer"

    def test_a_prack_to_us_is_no_agents_business(self, rig: Rig) -> None:
        leg = rig.call()
        rig.receive(response(rig.take_request("INVITE"), 180))
        rig.take()
        rig.receive(
            request(
                "PRACK", call_id=leg.call_id, from_tag="agent", to_tag=leg.local_tag, extra="RAck: 1 1 INVITE"
            )
        )
        rig.take_response(481)

"""UPDATE (RFC 3311): changing a session without an INVITE, also before there is an answer."""

from __future__ import annotations

import pytest

from gateway.sip.events import ReinviteAnswered, ReinviteFailed, ReinviteReceived
from gateway.sip.leg import LegStateError
from gateway.sip.message import Request, Response
from gateway.sip.outbound_leg import OutboundLeg
from tests.sip.rig import ANSWER, OFFER, Rig, connect, establish, request, response


def update(to_tag: str, cseq: int = 2, body: bytes = OFFER, extra: str = "", **kwargs: str) -> bytes:
    contact = "Contact: <sip:caller@192.0.2.10:5099>"
    return request(
        "UPDATE",
        branch=f"z9hG4bKu{cseq}",
        cseq=cseq,
        to_tag=to_tag,
        body=body,
        extra=f"{contact}\r\n{extra}".rstrip(),
        **kwargs,  # type: ignore[arg-type]
    )


class TestOfPeers:
    """§5.2: the UAS's side."""

    def test_an_offer_is_answered(self, rig: Rig) -> None:
        leg = establish(rig)
        rig.receive(update(leg.local_tag))
        assert rig.take() == []
        (event,) = rig.take_events()
        assert isinstance(event, ReinviteReceived)
        assert event.request.method == "UPDATE"
        leg.answer_reinvite(ANSWER)
        final = rig.take_response(200)
        assert final.body == ANSWER
        assert final.contact is not None
        assert leg.remote_contact == "sip:caller@192.0.2.10:5099"
        assert not leg.awaiting_ack

    def test_an_offer_is_refused(self, rig: Rig) -> None:
        leg = establish(rig)
        rig.receive(update(leg.local_tag))
        leg.refuse_reinvite(488)
        rig.take_response(488)
        assert leg.remote_contact == "sip:caller@192.0.2.10:5060"

    def test_a_repetition_waits_too(self, rig: Rig) -> None:
        leg = establish(rig)
        rig.receive(update(leg.local_tag))
        rig.receive(update(leg.local_tag))
        assert rig.take() == []
        assert len(rig.take_events()) == 1
        leg.answer_reinvite(ANSWER)
        rig.receive(update(leg.local_tag))
        assert len(rig.take()) == 2

    def test_without_an_offer_it_is_a_target_refresh(self, rig: Rig) -> None:
        leg = establish(rig)
        rig.receive(update(leg.local_tag, body=b""))
        rig.take_response(200)
        assert rig.take_events() == []
        assert leg.remote_contact == "sip:caller@192.0.2.10:5099"

    def test_a_second_one_while_one_waits(self, rig: Rig) -> None:
        leg = establish(rig)
        rig.receive(update(leg.local_tag))
        rig.receive(update(leg.local_tag, cseq=3))
        assert 0 <= int(rig.take_response(500).headers.get("Retry-After") or "") <= 10

    def test_one_that_crosses_ours(self, rig: Rig) -> None:
        leg = establish(rig)
        leg.update(OFFER)
        rig.take_request("UPDATE")
        rig.receive(update(leg.local_tag))
        rig.take_response(491)
        rig.receive(request(branch="z9hG4bKr", cseq=3, to_tag=leg.local_tag))
        rig.take_response(491)

    def test_one_while_our_offer_waits_for_the_ack(self, rig: Rig) -> None:
        rig.receive(request(body=b""))
        leg = rig.legs[-1]
        leg.answer(OFFER)
        rig.take()
        rig.receive(update(leg.local_tag))
        rig.take_response(491)

    def test_before_the_first_offer_is_answered(self, rig: Rig) -> None:
        rig.receive(request())
        leg = rig.legs[-1]
        leg.ring(183, body=ANSWER)
        rig.take()
        rig.receive(update(leg.local_tag))
        assert "Retry-After" in rig.take_response(500).headers
        rig.receive(update(leg.local_tag, cseq=3, body=b""))
        rig.take_response(200)

    def test_before_the_answer_but_behind_a_confirmed_183(self, rig: Rig) -> None:
        rig.receive(request(extra="Require: 100rel"))
        leg = rig.legs[-1]
        leg.ring(183, body=ANSWER)
        rseq = rig.take()[-1].headers.get("RSeq")
        rig.receive(
            request("PRACK", branch="z9hG4bKp", cseq=2, to_tag=leg.local_tag, extra=f"RAck: {rseq} 1 INVITE")
        )
        rig.receive(update(leg.local_tag, cseq=3))
        (event,) = rig.take_events()
        assert isinstance(event, ReinviteReceived)
        leg.answer_reinvite(ANSWER)
        rig.take()
        rig.receive(request(branch="z9hG4bKr", cseq=4, to_tag=leg.local_tag))
        rig.take_response(500)  # another INVITE has no place yet (RFC 3261 §14.2)
        leg.answer(ANSWER)
        rig.take_response(200)

    def test_with_a_body_that_is_no_session(self, rig: Rig) -> None:
        leg = establish(rig)
        rig.receive(update(leg.local_tag, body=b"x", extra="Content-Type: text/plain"))
        rig.take_response(415)

    def test_pending_at_the_goodbye_it_is_answered(self, rig: Rig) -> None:
        leg = establish(rig)
        rig.receive(update(leg.local_tag))
        leg.hangup()
        sent = rig.take()
        assert any(isinstance(each, Response) and each.status == 487 for each in sent)


class TestOfAgentsThatRing:
    """An early dialog of our INVITE's."""

    def early(self, rig: Rig, extra: str, body: bytes = b"") -> OutboundLeg:
        leg = rig.call()
        rig.receive(response(rig.take_request("INVITE"), 183, extra=extra, body=body))
        rig.take()
        rig.take_events()
        return leg

    def send(self, rig: Rig, leg: OutboundLeg, cseq: int = 1, body: bytes = OFFER) -> Response:
        rig.receive(update(leg.local_tag, cseq, body, call_id=leg.call_id, from_tag="agent"))
        message = rig.take()
        return message[0] if message else None  # type: ignore[return-value]

    def test_behind_its_answer(self, rig: Rig) -> None:
        leg = self.early(rig, "Require: 100rel\r\nRSeq: 1", ANSWER)
        assert self.send(rig, leg) is None
        (event,) = rig.take_events()
        assert isinstance(event, ReinviteReceived)
        leg.answer_reinvite(ANSWER)
        rig.take_response(200)
        assert self.send(rig, leg, cseq=1, body=OFFER + b"a=x\r\n").status == 200  # the same once more

    def test_while_our_offer_is_open(self, rig: Rig) -> None:
        leg = self.early(rig, "Require: 100rel\r\nRSeq: 1")
        assert self.send(rig, leg).status == 491
        assert self.send(rig, self.early(rig, ""), cseq=2).status == 491

    def test_without_an_offer(self, rig: Rig) -> None:
        leg = self.early(rig, "")
        assert self.send(rig, leg, body=b"").status == 200

    def test_its_numbers_count_on_after_the_answer(self, rig: Rig) -> None:
        leg = rig.call()
        invite = rig.take_request("INVITE")
        rig.receive(response(invite, 183, extra="Require: 100rel\r\nRSeq: 1", body=ANSWER))
        rig.take()
        assert self.send(rig, leg, cseq=7, body=b"").status == 200
        rig.receive(response(invite, 200))
        rig.take()
        assert self.send(rig, leg, cseq=6, body=b"").status == 500
        assert self.send(rig, leg, cseq=8, body=b"").status == 200


class TestOurs:
    """§5.1: the UAC's side."""

    def test_an_offer_and_its_answer(self, rig: Rig) -> None:
        leg, _ = connect(rig)
        leg.update(OFFER)
        sent = rig.take_request("UPDATE")
        assert sent.body == OFFER
        assert sent.contact is not None
        rig.receive(response(sent, 200, contact="<sip:moved@192.0.2.10>", body=ANSWER))
        assert rig.take() == []  # no ACK
        (event,) = rig.take_events()
        assert isinstance(event, ReinviteAnswered)
        assert event.response.body == ANSWER
        assert leg.remote_contact == "sip:moved@192.0.2.10"

    @pytest.mark.parametrize("status", [488, 504])
    def test_refused_the_session_stays(self, rig: Rig, status: int) -> None:
        leg, _ = connect(rig)
        leg.update(OFFER)
        rig.receive(response(rig.take_request("UPDATE"), status))
        (event,) = rig.take_events()
        assert isinstance(event, ReinviteFailed)
        assert event.status == status
        assert not leg.ended

    def test_a_collision_is_tried_again_after_the_pause(self, rig: Rig) -> None:
        leg, _ = connect(rig)
        leg.update(OFFER)
        rig.receive(response(rig.take_request("UPDATE"), 491))
        rig.advance(2.0)  # whoever made the Call-ID waits for 2.1 s at least (RFC 3261 §14.1)
        assert rig.take() == []
        rig.advance(2.1)
        assert {each.method for each in rig.take() if isinstance(each, Request)} == {"UPDATE"}

    def test_silence_ends_the_call(self, rig: Rig) -> None:
        leg, _ = connect(rig)
        leg.update(OFFER)
        rig.advance(32)
        assert leg.ended
        (event,) = rig.take_events()
        assert isinstance(event, ReinviteFailed)
        assert event.status == 408

    def test_not_before_the_call_is_up(self, rig: Rig) -> None:
        with pytest.raises(LegStateError):
            rig.call().update(OFFER)

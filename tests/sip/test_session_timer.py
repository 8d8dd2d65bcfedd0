"""Session timers (RFC 4028): who refreshes, how, and what happens when nobody does."""

from __future__ import annotations

import pytest

from gateway.sip.events import (
    AckReceived,
    AnswerReceived,
    FailureReceived,
    LegEnded,
    ReinviteAnswered,
    ReinviteFailed,
    SessionExpired,
    SessionRefreshed,
)
from gateway.sip.extensions import Extensions
from gateway.sip.grammar import SipParseError
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.message import Headers, Request, Response
from gateway.sip.outbound_leg import OutboundLeg
from gateway.sip.session_timer import Expires, session_expires
from tests.sip.rig import ANSWER, OFFER, Rig, request, response

ASKED = "Supported: timer\r\nSession-Expires: 200"


def answered(rig: Rig, extra: str) -> tuple[InboundLeg, Response]:
    """A caller's call, up, and its 200."""
    rig.receive(request(extra=extra))
    leg = rig.legs[-1]
    leg.answer(ANSWER)
    final = rig.take()[-1]
    rig.receive(request("ACK", branch="z9hG4bKack1", to_tag=leg.local_tag))
    rig.take_events()
    assert isinstance(final, Response)
    return leg, final


def connected(rig: Rig, extra: str = "") -> tuple[OutboundLeg, Request]:
    """A call of ours, up, and its INVITE."""
    leg = rig.call()
    invite = rig.take_request("INVITE")
    rig.receive(response(invite, 200, extra=extra))
    rig.take()
    rig.take_events()
    return leg, invite


@pytest.fixture
def asking() -> Rig:
    """One that asks for timers itself."""
    return Rig(Extensions(session_expires=1800))


class TestNegotiation:
    """§9, table 2, and §7.2."""

    @pytest.mark.parametrize(
        ("extra", "expires", "requires"),
        [
            ("", None, None),
            ("Supported: timer", None, None),
            (ASKED, "200;refresher=uac", "timer"),
            (f"{ASKED};refresher=uac", "200;refresher=uac", "timer"),
            (f"{ASKED};refresher=uas", "200;refresher=uas", None),
            ("Session-Expires: 200", "200;refresher=uas", None),  # put in by a proxy on the way
            ("k: 100rel, timer\r\nx: 200", "200;refresher=uac", "timer"),
        ],
    )
    def test_what_a_caller_is_told(
        self, rig: Rig, extra: str, expires: str | None, requires: str | None
    ) -> None:
        _, final = answered(rig, extra)
        assert final.headers.get("Session-Expires") == expires
        assert final.headers.get("Require") == requires
        assert "timer" in (final.headers.get("Supported") or "")

    @pytest.mark.parametrize(
        ("extra", "expires"),
        [
            ("", "1800;refresher=uas"),
            ("Supported: timer", "1800;refresher=uas"),
            ("Supported: timer\r\nMin-SE: 3600", "3600;refresher=uas"),
            ("Supported: timer\r\nSession-Expires: 300", "300;refresher=uac"),
            ("Supported: timer\r\nSession-Expires: 7200;refresher=uac", "1800;refresher=uac"),
            ("Supported: timer\r\nSession-Expires: 7200\r\nMin-SE: 4000", "4000;refresher=uac"),
        ],
    )
    def test_what_we_ask_of_a_caller(self, asking: Rig, extra: str, expires: str) -> None:
        _, final = answered(asking, extra)
        assert final.headers.get("Session-Expires") == expires

    def test_too_short_is_refused_with_what_would_do(self, rig: Rig) -> None:
        rig.receive(request(extra="Supported: timer\r\nSession-Expires: 89"))
        assert rig.take_response(422).headers.get("Min-SE") == "90"
        assert rig.legs == []

    def test_who_would_not_understand_a_422_is_taken_as_it_is(self, rig: Rig) -> None:
        _, final = answered(rig, "Session-Expires: 89")
        assert final.headers.get("Session-Expires") == "89;refresher=uas"

    @pytest.mark.parametrize("value", ["soon", "-1", "1800;refresher=me", "99999999999"])
    def test_nonsense_is_refused(self, rig: Rig, value: str) -> None:
        rig.receive(request(extra=f"Session-Expires: {value}"))
        rig.take_response(400)

    def test_a_call_of_ours_asks(self, asking: Rig) -> None:
        _, invite = connected(asking)
        assert invite.headers.get("Session-Expires") == "1800;refresher=uac"
        assert invite.headers.get("Supported") == "timer, 100rel"

    def test_a_call_of_ours_asks_for_nothing_by_default(self, rig: Rig) -> None:
        _, invite = connected(rig)
        assert "Session-Expires" not in invite.headers
        assert rig.ua.next_deadline() is not None  # the transaction's
        rig.advance(40)
        assert rig.ua.timer_count == 0

    def test_our_call_comes_again_after_a_422(self, asking: Rig) -> None:
        asking.call()
        invite = asking.take_request("INVITE")
        asking.receive(response(invite, 422, extra="Min-SE: 2400"))
        ack, again = asking.take()
        assert isinstance(ack, Request)
        assert isinstance(again, Request)
        assert (ack.method, again.method) == ("ACK", "INVITE")
        assert (again.call_id, again.from_tag) == (invite.call_id, invite.from_tag)
        assert (again.cseq, again.to_tag) == (2, None)
        assert again.branch != invite.branch
        assert again.headers.get("Session-Expires") == "2400;refresher=uac"
        assert again.headers.get("Min-SE") == "2400"
        assert again.body == invite.body
        asking.receive(response(again, 200))
        assert asking.take_request("ACK").cseq == 2
        assert [type(event) for event in asking.take_events()] == [AnswerReceived]

    @pytest.mark.parametrize("extra", ["", "Min-SE: 90", "Min-SE: 99999999", "Min-SE: soon"])
    def test_a_422_that_helps_nobody_is_a_refusal(self, asking: Rig, extra: str) -> None:
        asking.call()
        asking.receive(response(asking.take_request("INVITE"), 422, extra=extra))
        (failure,) = asking.take_events()
        assert isinstance(failure, FailureReceived)
        assert failure.status == 422

    def test_session_expires_is_read(self) -> None:
        def read(value: str) -> Expires | None:
            return session_expires(Request("INVITE", "sip:a@b", Headers([("Session-Expires", value)])))

        assert read("1800") == Expires(1800, None)
        assert read(" 90 ; refresher = UAS ;x=y") == Expires(90, "uas")
        with pytest.raises(SipParseError):
            read("")


class TestRefresh:
    """§10: at half of the interval."""

    def test_by_update_where_the_caller_takes_it(self, rig: Rig) -> None:
        leg, _ = answered(rig, f"{ASKED};refresher=uas\r\nAllow: INVITE, ACK, UPDATE")
        rig.advance(99.9)
        assert rig.take() == []
        rig.advance(0.2)
        update = rig.take_request("UPDATE")
        assert update.body == b""
        assert update.to_tag == "caller"
        assert update.headers.get("Session-Expires") == "200;refresher=uac"
        assert update.contact is not None
        rig.receive(response(update, 200, extra="Session-Expires: 200;refresher=uac"))
        assert rig.take_events() == []
        rig.advance(100)
        again = rig.take_request("UPDATE")
        assert again.cseq == update.cseq + 1
        leg.hangup()

    def test_by_reinvite_with_the_same_session(self, asking: Rig) -> None:
        leg, _ = connected(asking, "Session-Expires: 100;refresher=uac\r\nRequire: timer")
        asking.advance(50)
        invite = asking.take_request("INVITE")
        assert invite.body == OFFER  # unchanged, its version too (§7.4)
        moved = ANSWER.replace(b"5000", b"5002")
        asking.receive(response(invite, 200, extra="Session-Expires: 100;refresher=uac", body=moved))
        asking.take_request("ACK")
        assert asking.take_events() == [SessionRefreshed(leg, moved)]

    def test_a_caller_who_refreshes_stays(self, rig: Rig) -> None:
        leg, _ = answered(rig, ASKED)
        for number in range(2, 6):
            rig.advance(150)
            rig.receive(
                request(
                    "UPDATE",
                    branch=f"z9hG4bKu{number}",
                    cseq=number,
                    to_tag=leg.local_tag,
                    extra=f"{ASKED};refresher=uac",
                )
            )
            final = rig.take_response(200)
            assert final.headers.get("Session-Expires") == "200;refresher=uac"
            assert final.contact is not None
        assert rig.take_events() == []

    def test_a_reinvite_is_a_refresh_too(self, rig: Rig) -> None:
        leg, _ = answered(rig, ASKED)
        rig.advance(160)
        rig.receive(request(branch="z9hG4bKr", cseq=2, to_tag=leg.local_tag, extra=ASKED))
        rig.take()
        leg.answer_reinvite(ANSWER)
        assert rig.take_response(200).headers.get("Session-Expires") == "200;refresher=uac"
        rig.receive(request("ACK", branch="z9hG4bKa2", cseq=2, to_tag=leg.local_tag))
        rig.take_events()
        rig.advance(160)
        assert rig.take_events() == []

    def test_our_own_reinvite_keeps_the_timer(self, rig: Rig) -> None:
        leg, _ = answered(rig, ASKED)
        leg.reinvite(OFFER)
        invite = rig.take_request("INVITE")
        assert invite.headers.get("Session-Expires") == "200;refresher=uas"
        rig.receive(response(invite, 200, extra="Session-Expires: 200;refresher=uas"))
        rig.take()
        rig.advance(160)
        assert [type(event) for event in rig.take_events()] == [ReinviteAnswered]

    def test_what_the_owner_wants_waits_for_the_refresh(self, asking: Rig) -> None:
        leg, _ = connected(asking, "Session-Expires: 100;refresher=uac\r\nAllow: UPDATE")
        asking.advance(50)
        update = asking.take_request("UPDATE")
        leg.reinvite(ANSWER)
        leg.reinvite(ANSWER)  # a second one is one too many
        asking.advance(0)
        (refused,) = asking.take_events()
        assert isinstance(refused, ReinviteFailed)
        assert refused.status == 491
        asking.receive(response(update, 200))
        assert asking.take_request("INVITE").body == ANSWER

    def test_update_refused_means_reinvite(self, asking: Rig) -> None:
        connected(asking, "Session-Expires: 100;refresher=uac\r\nAllow: UPDATE")
        asking.advance(50)
        asking.receive(response(asking.take_request("UPDATE"), 405))
        assert asking.take_request("INVITE").body == OFFER

    def test_too_short_on_the_way_is_made_longer(self, asking: Rig) -> None:
        connected(asking, "Session-Expires: 100;refresher=uac\r\nAllow: UPDATE")
        asking.advance(50)
        asking.receive(response(asking.take_request("UPDATE"), 422, extra="Min-SE: 150"))
        again = asking.take_request("UPDATE")
        assert again.headers.get("Session-Expires") == "150;refresher=uac"
        assert again.headers.get("Min-SE") == "150"

    def test_a_collision_is_tried_again(self, asking: Rig) -> None:
        connected(asking, "Session-Expires: 100;refresher=uac\r\nAllow: UPDATE")
        asking.advance(50)
        asking.receive(response(asking.take_request("UPDATE"), 491))
        assert asking.take() == []
        asking.advance(4.1)
        assert {message.method for message in asking.take() if isinstance(message, Request)} == {"UPDATE"}


class TestExpiry:
    """§10: nobody refreshed."""

    def test_a_caller_who_does_not_refresh_is_hung_up(self, rig: Rig) -> None:
        leg, _ = answered(rig, ASKED)
        rig.advance(167.9)
        assert rig.take_events() == []
        rig.advance(0.2)
        assert rig.take_events() == [SessionExpired(leg)]
        bye = rig.take_request("BYE")
        assert bye.headers.get("Reason") == 'SIP;cause=408;text="Session timer expired"'
        rig.receive(response(bye, 200))
        assert rig.take_events() == [LegEnded(leg)]
        rig.advance(40)
        rig.assert_idle()

    def test_a_third_of_a_short_one_is_kept_for_the_bye(self, rig: Rig) -> None:
        leg, _ = answered(rig, "Supported: timer\r\nSession-Expires: 90;refresher=uac")
        rig.advance(59.9)
        assert rig.take_events() == []
        rig.advance(0.2)
        assert rig.take_events() == [SessionExpired(leg)]

    def test_a_peer_that_answers_no_refresh_is_gone(self, asking: Rig) -> None:
        leg, _ = connected(asking, "Allow: UPDATE")
        asking.advance(900)
        asking.take_request("UPDATE")
        asking.advance(32)
        assert asking.take_events() == [SessionExpired(leg)]

    def test_a_peer_that_knows_no_call_is_gone(self, asking: Rig) -> None:
        leg, _ = connected(asking)
        asking.advance(900)
        asking.receive(response(asking.take_request("INVITE"), 481))
        assert asking.take_events() == [LegEnded(leg)]

    def test_a_refusal_is_a_sign_of_life_from_who_agreed_to_nothing(self, asking: Rig) -> None:
        leg, _ = connected(asking)
        for _ in range(3):
            asking.advance(900)
            asking.receive(response(asking.take_request("INVITE"), 488))
            asking.take_request("ACK")
        assert asking.take_events() == []
        assert not leg.ended

    def test_a_refusal_by_who_agreed_is_tried_again_until_the_end(self, asking: Rig) -> None:
        leg, _ = connected(asking, "Session-Expires: 100;refresher=uac")
        asking.advance(50)
        asking.receive(response(asking.take_request("INVITE"), 500))
        asking.take_request("ACK")
        asking.advance(10)
        asking.receive(response(asking.take_request("INVITE"), 500))
        asking.take_request("ACK")
        asking.advance(8)
        assert asking.take_events() == [SessionExpired(leg)]

    def test_a_goodbye_ends_the_timer(self, rig: Rig) -> None:
        leg, _ = answered(rig, f"{ASKED};refresher=uas")
        leg.hangup()
        rig.receive(response(rig.take_request("BYE"), 200))
        rig.advance(40)
        rig.assert_idle()

    def test_a_peer_may_let_go_of_the_timer(self, rig: Rig) -> None:
        leg, _ = answered(rig, ASKED)
        rig.receive(request(branch="z9hG4bKr", cseq=2, to_tag=leg.local_tag))
        leg.answer_reinvite(ANSWER)
        rig.receive(request("ACK", branch="z9hG4bKa2", cseq=2, to_tag=leg.local_tag))
        rig.advance(500)
        assert not any(isinstance(event, SessionExpired) for event in rig.take_events())
        assert not leg.ended


def test_an_ack_is_still_waited_for(rig: Rig) -> None:
    """The timer does not hide a 2xx that nobody confirms."""
    rig.receive(request(extra=ASKED))
    rig.legs[-1].answer(ANSWER)
    rig.advance(40)
    assert not any(isinstance(event, AckReceived) for event in rig.take_events())

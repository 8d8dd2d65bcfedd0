"""Whole calls between two user agents over a link that loses, doubles and reorders, from a seed.

A failing seed is in the test's name: run it again alone.
"""

from __future__ import annotations

import pytest

from gateway.sip.events import (
    AckReceived,
    AckTimedOut,
    AnswerReceived,
    Event,
    FailureReceived,
    HungUp,
    InfoReceived,
    InviteCancelled,
    LegEnded,
    ProvisionalReceived,
    ReinviteAnswered,
    ReinviteFailed,
    ReinviteReceived,
)
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.leg import Leg
from gateway.sip.outbound_leg import OutboundLeg
from tests.sip.link import End, Link
from tests.sip.rig import ANSWER, OFFER

CALLER, CALLEE = "192.0.2.1", "192.0.2.2"

LAST = (InviteCancelled, FailureReceived, HungUp, LegEnded)

CALLS = 12


class Side:
    """An owner that does anything an owner may do, at any time."""

    def __init__(self, link: Link, host: str) -> None:
        self.link, self.random = link, link.random
        self.end = End(link, host, self.on_invite)
        self.heard: dict[Leg, list[Event]] = {}

    def watch(self, leg: Leg) -> None:
        self.heard.setdefault(leg, [])
        leg.listener = self.on_event

    def later(self, seconds: float, leg: Leg, verb: str, *args: object) -> None:
        self.link.at(self.random.uniform(0, seconds), lambda: getattr(leg, verb)(*args))

    def call(self, host: str) -> None:
        leg = self.end.ua.invite(
            f"sip:callee@{host}",
            self.end.flow(host),
            from_=f"<sip:caller@{self.end.host}>",
            to=f"<sip:callee@{host}>",
            body=self.random.choice((OFFER, OFFER, b"")),
            listener=self.on_event,
        )
        self.heard[leg] = []
        if self.random.random() < 0.4:
            self.later(6.0, leg, "hangup")

    def on_invite(self, leg: InboundLeg) -> None:
        self.watch(leg)
        match self.random.randrange(5):
            case 0:
                leg.refuse(self.random.choice((404, 486, 503, 603)))
            case 1:
                leg.ring()
                self.later(5.0, leg, "hangup")
            case _:
                leg.ring(183, body=ANSWER)
                self.link.at(self.random.uniform(0, 5), lambda: None if leg.ended else leg.answer(ANSWER))

    def on_event(self, event: Event) -> None:
        heard = self.heard[event.leg]
        assert not any(isinstance(earlier, LAST) for earlier in heard), (heard, event)
        heard.append(event)
        match event:
            case AnswerReceived(leg=leg):
                assert isinstance(leg, OutboundLeg)
                if leg._invite.awaits_ack:
                    leg.ack(ANSWER)
                self.live(leg)
            case AckReceived(leg=leg) if len(heard) == 1:
                self.live(leg)
            case ReinviteReceived(leg=leg):
                if self.random.random() < 0.7:
                    leg.answer_reinvite(ANSWER)
                else:
                    leg.refuse_reinvite(488)
            case _:
                known = (*LAST, ProvisionalReceived, AckReceived, AckTimedOut, InfoReceived)
                assert isinstance(event, (*known, ReinviteAnswered, ReinviteFailed))

    def live(self, leg: Leg) -> None:
        """What may happen while the call is up."""
        for verb, args in (
            ("reinvite", (OFFER,)),
            ("info", ("application/dtmf-relay", b"Signal=1")),
            ("reinvite", (OFFER,)),
            ("hangup", ()),
        ):
            if self.random.random() < 0.5:
                self.later(8.0, leg, verb, *args)


def assert_consistent(side: Side) -> None:
    for leg, heard in side.heard.items():
        if isinstance(leg, InboundLeg) and leg.final_status not in {None, 200, 487} and not heard:
            continue  # refused by its owner, who knows
        endings = [event for event in heard if isinstance(event, LAST)]
        if isinstance(leg, InboundLeg) and leg.final_status == 480:
            continue
        assert len(endings) == 1, (leg, heard)
        assert leg.ended


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_link_does_every_call_ends_once_and_leaves_nothing(seed: int) -> None:
    link = Link(seed, loss=(seed % 4) * 0.1, doubling=(seed % 3) * 0.15, delay=(0.02, 0.3, 1.5)[seed % 3])
    one, two = Side(link, CALLER), Side(link, CALLEE)
    for number in range(CALLS):
        caller, callee = (one, CALLEE) if number % 3 else (two, CALLER)
        link.at(link.random.uniform(0, 20), lambda caller=caller, callee=callee: caller.call(callee))
    link.run(60)
    for side in (one, two):
        for leg in side.heard:
            leg.hangup()
    link.run(700)
    for side in (one, two):
        assert_consistent(side)
        ua = side.end.ua
        assert (ua.leg_count, ua.timer_count, ua.call_key_count) == (0, 0, 0), ua.transaction_counts
        assert set(ua.transaction_counts.values()) == {0}


@pytest.mark.parametrize("seed", range(10))
def test_over_a_good_link_both_sides_agree_on_what_happened(seed: int) -> None:
    link = Link(seed, loss=0, doubling=0, delay=0.001)  # nothing overtakes
    one, two = Side(link, CALLER), Side(link, CALLEE)
    for _ in range(CALLS):
        link.at(link.random.uniform(0, 20), lambda: one.call(CALLEE))
    link.run(60)
    for side in (one, two):
        for leg in side.heard:
            leg.hangup()
    link.run(700)
    called = {leg.call_id: (leg, heard) for leg, heard in two.heard.items()}
    assert len(called) == len(one.heard) == CALLS
    for leg, heard in one.heard.items():
        assert isinstance(leg, OutboundLeg)
        other, _ = called[leg.call_id]
        assert isinstance(other, InboundLeg)
        assert leg.answered == other.answered
        if isinstance(heard[-1], FailureReceived):
            assert heard[-1].status == other.final_status
    assert one.end.drops == two.end.drops == []

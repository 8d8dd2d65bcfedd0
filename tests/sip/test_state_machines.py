"""Transactions and dialogs as state machines that hypothesis drives: any order of messages, times and decisions.

What must hold at each step is written as an invariant; at the end everything is hung up, time passes, and nothing may
be left. A failing run is printed as the steps that lead to it.
"""

from __future__ import annotations

from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.sip.events import AnswerReceived, FailureReceived
from gateway.sip.leg import LegStateError
from gateway.sip.message import Request
from tests.sip.rig import ANSWER, OFFER, PEER, Rig, request, response

SECONDS = st.sampled_from([0.05, 0.5, 1.0, 4.0, 31.9, 32.1, 64.0])

FORGETTING = 3.0
"""Seconds after which nothing is held against an INVITE that comes again: five after its ACK (Timer I) it is new."""

RUNS = settings(max_examples=40, stateful_step_count=25, deadline=None)


class Machine(RuleBasedStateMachine):
    """What both sides have in common: a rig, what was sent, and time."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.ours: list[Request] = []
        self.since = self.rig.clock.now
        self.finals: dict[str | None, set[tuple[int, str | None]]] = {}

    def look(self) -> None:
        """Take up what was sent since the last look."""
        for message in self.rig.take():
            if isinstance(message, Request):
                self.ours.append(message)
            elif message.cseq_method == "INVITE" and message.status >= 200:
                self.finals.setdefault(message.branch, set()).add((message.status, message.to_tag))

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.rig.advance(seconds)
        self.look()
        if self.rig.clock.now - self.since > FORGETTING:
            self.since = self.rig.clock.now
            self.finals.clear()

    @rule(status=st.sampled_from([100, 200, 404, 481, 491, 500]), back=st.integers(1, 4))
    def the_peer_responds(self, status: int, back: int) -> None:
        """To one of our last requests, whichever: perhaps again, perhaps late."""
        open_ones = [message for message in self.ours if message.method != "ACK"][-4:]
        if open_ones:
            asked = open_ones[-min(back, len(open_ones))]
            self.rig.receive(response(asked, status, tag=asked.to_tag or "agent"))
            self.look()

    @invariant()
    def an_invite_has_one_final_response(self) -> None:
        assert all(len(finals) == 1 for finals in self.finals.values()), self.finals

    def teardown(self) -> None:
        for leg in [*self.rig.legs, *self.rig.ua._core.legs.values()]:
            leg.hangup()
        self.rig.advance(2000)
        self.rig.assert_idle()


class Received(Machine):
    """A call that the peer places."""

    @initialize()
    def the_call_comes(self) -> None:
        self.rig.receive(request())
        self.look()
        self.cseq = 10

    @property
    def leg(self):
        return self.rig.legs[0]

    def in_dialog(self, method: str, **more: object) -> None:
        self.cseq += 1
        tag = self.leg.local_tag
        self.rig.receive(request(method, branch=f"z9hG4bK{self.cseq}", cseq=self.cseq, to_tag=tag, **more))
        self.look()

    @rule()
    def the_invite_comes_again(self) -> None:
        """The same one, as long as its transaction lives; afterwards it would be a call of its own."""
        if self.rig.ua.call_key_count:
            self.rig.receive(request())
            self.look()

    @rule()
    def it_is_cancelled(self) -> None:
        self.rig.receive(request("CANCEL"))
        self.look()

    @rule(after_2xx=st.booleans())
    def it_is_acknowledged(self, after_2xx: bool) -> None:
        branch = "z9hG4bKack" if after_2xx else "z9hG4bKcaller1"
        self.rig.receive(request("ACK", branch=branch, to_tag=self.leg.local_tag))
        self.look()

    @rule()
    def the_peer_hangs_up(self) -> None:
        self.in_dialog("BYE")

    @rule(body=st.sampled_from([OFFER, b""]))
    def the_peer_changes_the_session(self, body: bytes) -> None:
        self.in_dialog("INVITE", body=body)

    @rule(method=st.sampled_from(["OPTIONS", "INFO", "UPDATE", "PRACK", "MESSAGE", "FOO"]))
    def the_peer_says_something_else(self, method: str) -> None:
        self.in_dialog(method)

    @precondition(lambda self: self.rig.legs and self.leg.awaiting_answer and not self.leg.ended)
    @rule(what=st.sampled_from(["ring", "answer", "refuse"]))
    def we_decide(self, what: str) -> None:
        match what:
            case "ring":
                self.leg.ring()
            case "answer":
                self.leg.answer(ANSWER)
            case "refuse":
                self.leg.refuse(486)
        self.look()

    @rule(what=st.sampled_from(["reinvite", "accept", "reject", "hangup", "info"]))
    def we_act_in_the_dialog(self, what: str) -> None:
        with suppress(LegStateError):
            match what:
                case "reinvite":
                    self.leg.reinvite(OFFER)
                case "accept":
                    self.leg.answer_reinvite(ANSWER)
                case "reject":
                    self.leg.refuse_reinvite(488)
                case "hangup":
                    self.leg.hangup()
                case "info":
                    self.leg.info("text/plain", b"x")
        self.look()

    @invariant()
    def we_say_goodbye_once(self) -> None:
        assert len({message.cseq for message in self.ours if message.method == "BYE"}) <= 1


class Placed(Machine):
    """A call that we place."""

    @initialize(body=st.sampled_from([OFFER, b""]))
    def we_call(self, body: bytes) -> None:
        self.leg = self.rig.call(body=body)
        self.look()
        self.invite = self.ours[0]
        self.ends = 0

    @rule(status=st.sampled_from([100, 180, 183, 199]), tag=st.sampled_from(["a", "b"]))
    def it_rings(self, status: int, tag: str) -> None:
        self.rig.receive(response(self.invite, status, tag=tag))
        self.look()

    @rule(status=st.sampled_from([200, 302, 401, 486, 503, 603]), tag=st.sampled_from(["a", "b", "c"]))
    def it_ends_one_way_or_the_other(self, status: int, tag: str) -> None:
        self.rig.receive(response(self.invite, status, tag=tag))
        self.look()

    @rule()
    def the_way_breaks(self) -> None:
        self.rig.ua.transport_failed(PEER, "connection refused")
        self.look()

    @rule()
    def we_hang_up(self) -> None:
        self.leg.hangup()
        self.look()

    @rule()
    def we_acknowledge(self) -> None:
        with suppress(LegStateError):
            self.leg.ack(ANSWER)
        self.look()

    @rule(
        method=st.sampled_from(["BYE", "INVITE", "OPTIONS", "INFO", "UPDATE"]),
        tag=st.sampled_from(["a", "b"]),
    )
    def the_peer_says_something(self, method: str, tag: str) -> None:
        ours = self.invite.from_tag
        self.rig.receive(
            request(
                method, branch=f"z9hG4bK{method}{tag}", from_tag=tag, to_tag=ours, call_id=self.invite.call_id
            )
        )
        self.look()

    @invariant()
    def the_owner_learns_of_one_end_of_the_invite(self) -> None:
        self.ends += sum(
            isinstance(event, AnswerReceived | FailureReceived) for event in self.rig.take_events()
        )
        assert self.ends <= 1

    @invariant()
    def what_we_repeat_is_the_same_invite(self) -> None:
        initial = [message for message in self.ours if message.method == "INVITE" and message.to_tag is None]
        assert len({message.branch for message in initial}) <= 1


Received.TestCase.settings = Placed.TestCase.settings = RUNS

TestReceived = Received.TestCase
TestPlaced = Placed.TestCase

"""A leg with all its extensions (PRACK, UPDATE, timers, REFER) in whatever order things happen."""

from __future__ import annotations

import itertools
from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.sip.events import FailureReceived, HungUp, InviteCancelled, LegEnded, ReferReceived
from gateway.sip.extensions import Extensions
from gateway.sip.leg import Leg, LegStateError
from gateway.sip.message import Request, Response
from gateway.sip.transaction import State
from tests.sip.rig import ANSWER, OFFER, PEER, PEER_TCP, Rig, request, response
from tests.sip.test_transaction_server import ServerRig

LAST = (InviteCancelled, FailureReceived, HungUp, LegEnded)
"""After one of these a leg says nothing more."""

EVERYTHING_OVER = 2000.0
"""Seconds: sessions of 90 s, transactions of 32, a REFER's subscription of none."""


class ServerTransactions(RuleBasedStateMachine):
    """Figures 7 and 8 of RFC 3261 §17.2: one final answer, said again as it was, and then forgotten."""

    @initialize(method=st.sampled_from(["INVITE", "OPTIONS"]), flow=st.sampled_from([PEER, PEER_TCP]))
    def begin(self, method: str, flow: object) -> None:
        self.rig = ServerRig(method, flow)  # type: ignore[arg-type]
        self.invite = method == "INVITE"
        self.final: bytes | None = None

    @rule(status=st.sampled_from([100, 180, 183, 200, 202, 302, 404, 486, 500, 603]))
    def respond(self, status: int) -> None:
        before = self.rig.transaction.state
        self.rig.respond(status)
        open_before = before in (State.TRYING, State.PROCEEDING)
        if status >= 200 and open_before:
            self.final = str(status).encode()
        if not open_before and not (before is State.ACCEPTED and 200 <= status < 300):
            assert self.rig.transaction.state is before

    @rule()
    def again(self) -> None:
        sent = len(self.rig.sink.sent)
        self.rig.transaction.receive_again()
        for _, _, data in self.rig.sink.sent[sent:]:
            assert data == self.rig.sink.sent[sent - 1][2] or data == self.final

    @precondition(lambda self: self.invite)
    @rule()
    def ack(self) -> None:
        self.rig.transaction.receive_ack()  # type: ignore[union-attr]

    @rule(seconds=st.sampled_from([0.1, 0.5, 4.0, 33.0]))
    def pass_time(self, seconds: float) -> None:
        self.rig.advance(seconds)

    @invariant()
    def one_final_answer(self) -> None:
        if not hasattr(self, "rig"):
            return
        finals = {data for _, _, data in self.rig.sink.sent if int(data) >= 200}
        if self.invite and self.final is not None and self.final.startswith(b"2"):
            assert all(data.startswith(b"2") for data in finals)  # the user agent repeats its own 2xx
        else:
            assert len(finals) <= 1

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            if self.final is None:
                self.rig.respond(500)
            self.rig.advance(100)
            self.rig.assert_empty()


class Dialogs(RuleBasedStateMachine):
    """A leg of either kind between an owner and a peer that do what they like, in any order."""

    @initialize(
        outbound=st.booleans(),
        reliable=st.booleans(),
        timed=st.booleans(),
        late=st.booleans(),
    )
    def begin(self, outbound: bool, reliable: bool, timed: bool, late: bool) -> None:
        self.rig = Rig(Extensions(reliable="supported", session_expires=90 if timed else 0))
        self.cseq = itertools.count(2)
        self.branches = itertools.count(1)
        self.pending: list[Request] = []
        self.rseq: str | None = None
        self.last_rseq = itertools.count(1)
        self.over = self.cancelled = False
        self.finals: dict[str, set[int]] = defaultdict(set)
        self.byes: set[str] = set()
        body = b"" if late else OFFER
        if outbound:
            self.leg: Leg = self.rig.call(body=body)
            self.call_id, self.peer_tag = self.leg.call_id, "agent"
        else:
            extra = "Supported: timer, 100rel" + ("\r\nRequire: 100rel" if reliable else "")
            self.rig.receive(request(extra=extra, body=body))
            self.leg = self.rig.legs[-1]
            self.call_id, self.peer_tag = "call-1@192.0.2.10", "caller"
        self.outbound = outbound
        self.take()

    # --- what the test sees

    def take(self) -> None:
        for message in self.rig.take():
            if isinstance(message, Response):
                if message.headers.get("RSeq"):
                    self.rseq = message.headers.get("RSeq")
                if message.status >= 200:
                    self.finals[f"{message.branch} {message.cseq_method}"].add(message.status)
                continue
            assert message.call_id == self.call_id
            if message.method == "BYE":
                self.byes.add(message.branch or "")
            if message.method not in {"ACK", "CANCEL"} and message.branch not in {
                one.branch for one in self.pending
            }:
                self.pending.append(message)
        for event in self.rig.take_events():
            assert not self.over, f"{event} after the last"
            self.over = isinstance(event, LAST)
            if isinstance(event, ReferReceived):
                event.referral.accept()

    def say(self, method: str, body: bytes = b"", extra: str = "", branch: str | None = None) -> None:
        branch = branch or f"z9hG4bK{next(self.branches)}"
        contact = "Contact: <sip:peer@192.0.2.10:5060>" if method == "UPDATE" else ""
        self.rig.receive(
            request(
                method,
                branch=branch,
                cseq=next(self.cseq),
                from_tag=self.peer_tag,
                to_tag=self.leg.local_tag,
                call_id=self.call_id,
                body=body,
                extra="\r\n".join(filter(None, (extra, contact))),
            )
        )
        self.take()

    # --- the owner

    @rule(
        verb=st.sampled_from(
            ["reinvite", "update", "answer_reinvite", "refuse", "info", "hangup", "refer_ok"]
        )
    )
    def own(self, verb: str) -> None:
        leg = self.leg
        try:
            match verb:
                case "reinvite":
                    leg.reinvite(OFFER)
                case "update":
                    leg.update(OFFER)
                case "answer_reinvite":
                    leg.answer_reinvite(ANSWER)
                case "refuse":
                    leg.refuse_reinvite(488)
                case "info":
                    leg.info("text/plain", b"x")
                case "refer_ok":
                    leg.may_refer = True
                case "hangup":
                    leg.hangup()
        except LegStateError:
            assert not leg.ended
        self.take()

    @precondition(lambda self: hasattr(self, "leg") and not self.outbound)
    @rule(verb=st.sampled_from(["ring", "early", "answer", "refuse"]))
    def own_caller(self, verb: str) -> None:
        leg = self.leg
        try:
            match verb:
                case "ring":
                    leg.ring()  # type: ignore[attr-defined]
                case "early":
                    leg.ring(183, body=ANSWER)  # type: ignore[attr-defined]
                case "answer":
                    leg.answer(ANSWER)  # type: ignore[attr-defined]
                case "refuse" if not leg.ended:  # of one that says goodbye already the end is still told
                    leg.refuse(486)  # type: ignore[attr-defined]
                    self.over = True
        except LegStateError:
            pass
        self.take()

    # --- the peer

    @rule(
        method=st.sampled_from(["INVITE", "UPDATE", "INFO", "OPTIONS", "BYE", "REFER"]), empty=st.booleans()
    )
    def peer_asks(self, method: str, empty: bool) -> None:
        body = OFFER if method in {"INVITE", "UPDATE"} and not empty else b""
        extra = "Refer-To: <sip:a@b>" if method == "REFER" else "Supported: timer\r\nSession-Expires: 90"
        self.say(method, body, extra)

    @rule(cseq=st.integers(1, 12))
    def peer_acknowledges(self, cseq: int) -> None:
        self.rig.receive(
            request(
                "ACK",
                branch=f"z9hG4bK{next(self.branches)}",
                cseq=cseq,
                from_tag=self.peer_tag,
                to_tag=self.leg.local_tag,
                call_id=self.call_id,
            )
        )
        self.take()

    @precondition(lambda self: getattr(self, "rseq", None) is not None)
    @rule(body=st.sampled_from([b"", OFFER]))
    def peer_confirms(self, body: bytes) -> None:
        self.say("PRACK", body, f"RAck: {self.rseq} 1 INVITE")

    @precondition(lambda self: hasattr(self, "leg") and not self.outbound and not self.cancelled)
    @rule()
    def peer_cancels(self) -> None:
        self.cancelled = True  # a second one is the same again, or after its memory one of nothing
        self.rig.receive(request("CANCEL", call_id=self.call_id))
        self.take()

    @precondition(lambda self: bool(getattr(self, "pending", None)))
    @rule(
        status=st.sampled_from([100, 180, 183, 200, 200, 202, 408, 422, 481, 488, 491, 500]),
        which=st.integers(0, 20),
        tag=st.sampled_from(["agent", "agent", "fork"]),
        reliable=st.booleans(),
    )
    def peer_responds(self, status: int, which: int, tag: str, reliable: bool) -> None:
        message = self.pending[which % len(self.pending)]
        extra = "Session-Expires: 90;refresher=uas" if status == 200 else "Min-SE: 120"
        early = reliable and 100 < status < 200 and message.method == "INVITE" and message.to_tag is None
        if early:
            extra = f"Require: 100rel\r\nRSeq: {next(self.last_rseq)}"
        body = ANSWER if status == 183 or (status == 200 and message.method in {"INVITE", "UPDATE"}) else b""
        self.rig.receive(response(message, status, tag=tag, extra=extra, body=body))
        self.take()

    @rule(seconds=st.sampled_from([0.0, 0.6, 2.0, 5.0, 35.0, 70.0]))
    def pass_time(self, seconds: float) -> None:
        self.rig.advance(seconds)
        self.take()

    @invariant()
    def what_was_answered_stays_answered(self) -> None:
        if not hasattr(self, "leg"):
            return
        for branch, statuses in self.finals.items():
            assert len(statuses) == 1, (branch, statuses)
        assert len(self.byes) <= 1 + 16  # ours, and those of forks that lost
        assert len(self.rig.ua._core.legs) <= 1

    def teardown(self) -> None:
        if not hasattr(self, "leg"):
            return
        self.leg.hangup()
        self.take()
        self.rig.advance(EVERYTHING_OVER)
        self.take()
        self.rig.assert_idle()


TestServerTransactions = ServerTransactions.TestCase
TestServerTransactions.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestDialogs = Dialogs.TestCase
TestDialogs.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

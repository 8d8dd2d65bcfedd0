"""Agents that answer, and agents that fail in every way that anybody could think of."""

from __future__ import annotations

import random
from dataclasses import dataclass

from gateway.sip.events import AckTimedOut, HungUp, InviteCancelled, LegEnded, ReinviteReceived
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.sdp import answer_offer, make_offer
from tests.simulation.network import SimulatedNetwork
from tests.simulation.peer import PORT, Peer, any_extensions

REFUSALS = (302, 400, 403, 404, 408, 480, 486, 488, 500, 503, 600, 603)

BEHAVIOURS = {
    "answer": 8,
    "refuse": 4,
    "silent": 1,
    "trying": 1,
    "ring": 1,
    "late": 2,
    "no_sdp": 1,
    "bad_sdp": 1,
    "vanish": 2,
    "crash": 2,
    "mute": 1,
    "early_media": 2,
    "early_refusal": 1,
    "answer_and_bye": 1,
    "reinvite": 2,
    "update": 1,
    "refer": 2,
    "refer_and_leave": 1,
}
"""What an agent does with a call, and how often relative to the others."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The gateway's, which agents like to miss by a little."""

    response_timeout: float
    ring_timeout: float


class SimulatedAgent:
    """One endpoint of an agent; decides anew for each call what to do with it."""

    def __init__(
        self, network: SimulatedNetwork, host: str, clocks: Clocks, *, direct: bool, tcp: bool
    ) -> None:
        self._network = network
        self._loop = network.loop
        self._clocks = clocks
        self.peer = Peer(network, host, self._invited, extensions=any_extensions(network.rng))
        self.rng = random.Random(f"agent {host} {network.rng.random()}")
        self.mute_since: float | None = None
        self.tcp = tcp
        transport = ";transport=tcp" if tcp else ""
        self.url = f"sip:bot@{host}:{PORT}{transport}{';media=direct' if direct else ''}"
        self.behaviour: str | None = None
        self.transfer_targets: list[str] = []

    @property
    def host(self) -> str:
        return self.peer.host

    async def start(self) -> None:
        # An agent behind a TCP URL refuses connections now and then: nobody listens.
        await self.peer.start(tcp=self.rng.random() < 0.7)

    def _invited(self, leg: InboundLeg) -> None:
        behaviour = self.behaviour or self.rng.choices([*BEHAVIOURS], weights=[*BEHAVIOURS.values()])[0]
        getattr(self, f"_{behaviour}")(leg)

    def _later(self, low: float, high: float, action, *arguments: object) -> None:
        self._loop.call_later(self.rng.uniform(low, high), action, *arguments)

    def _sdp(self, leg: InboundLeg) -> bytes:
        if leg.request.body:
            return answer_offer(leg.request.body, self.host, 7000, session_id=5).sdp
        return make_offer(self.host, 7000, session_id=5)

    # One method a behaviour.

    def _answer(self, leg: InboundLeg) -> None:
        leg.listener = self._polite
        if self.rng.random() < 0.7:
            self._later(0.0, 0.5, self._ring_now, leg)
        self._later(0.1, 4.0, self._answer_now, leg)

    def _refuse(self, leg: InboundLeg) -> None:
        leg.listener = self._polite
        self._later(0.0, 1.5, self._refuse_now, leg)

    def _silent(self, leg: InboundLeg) -> None:
        """A process that hangs: the core has said 100, but it never says anything more to anybody."""
        self.peer.deaf = True
        self._later(3.0, 20.0, self._wake_up)

    def _trying(self, leg: InboundLeg) -> None:
        leg.listener = self._polite

    def _ring(self, leg: InboundLeg) -> None:
        leg.listener = self._polite
        self._ring_now(leg)

    def _late(self, leg: InboundLeg) -> None:
        """Answers at the very end of the gateway's patience: 200 and CANCEL cross."""
        leg.listener = self._polite
        self._ring_now(leg)
        patience = self._clocks.ring_timeout
        self._later(patience - 0.1, patience + 0.1, self._answer_now, leg)

    def _no_sdp(self, leg: InboundLeg) -> None:
        leg.listener = self._polite
        leg.answer(b"")

    def _bad_sdp(self, leg: InboundLeg) -> None:
        leg.listener = self._polite
        leg.answer(b"v=0\r\nnot a session description\r\n")

    def _vanish(self, leg: InboundLeg) -> None:
        """Answers, and later its host is gone: no BYE, no RTP, nothing."""
        self._answer(leg)
        self._later(4.0, 15.0, self._network.vanish, self.host)

    def _crash(self, leg: InboundLeg) -> None:
        """Its process dies at any step of any call, and comes again as one that knows of none."""
        self._answer(leg)
        self._later(0.0, 12.0, self._die)

    def _mute(self, leg: InboundLeg) -> None:
        """Answers, and later its audio dies while its signalling lives."""
        self._answer(leg)
        self._later(4.0, 15.0, self._fall_silent)

    def _early_media(self, leg: InboundLeg) -> None:
        self._early(leg)
        self._later(1.0, 3.0, self._answer_now, leg)

    def _early_refusal(self, leg: InboundLeg) -> None:
        self._early(leg)
        self._later(0.5, 2.0, self._refuse_now, leg)

    def _answer_and_bye(self, leg: InboundLeg) -> None:
        leg.listener = self._polite
        self._answer_now(leg)
        self._later(0.0, 0.2, leg.hangup)

    def _reinvite(self, leg: InboundLeg) -> None:
        """Holds and resumes the caller."""
        self._answer(leg)
        for direction in ("sendonly", "sendrecv"):
            self._later(4.5, 8.0, self._offer_again, leg, direction)

    def _update(self, leg: InboundLeg) -> None:
        """Holds and resumes the caller by UPDATE."""
        self._answer(leg)
        for direction in ("inactive", "sendrecv"):
            self._later(4.5, 8.0, self._offer_by_update, leg, direction)

    def _refer(self, leg: InboundLeg) -> None:
        """Sends the caller on, and goes on with it if nobody takes it."""
        self._answer(leg)
        self._later(4.2, 9.0, self._refer_now, leg)

    def _refer_and_leave(self, leg: InboundLeg) -> None:
        self._answer(leg)
        self._later(4.2, 9.0, self._refer_now, leg, True)

    # What behaviours are made of.

    def _polite(self, event: object) -> None:
        match event:
            case ReinviteReceived(leg=leg, request=request):
                if self.rng.random() < 0.2:
                    leg.refuse_reinvite(488)
                elif request.body:
                    leg.answer_reinvite(answer_offer(request.body, self.host, 7002, session_id=5).sdp)
                else:
                    leg.answer_reinvite(make_offer(self.host, 7002, session_id=5))
            case HungUp() | InviteCancelled() | AckTimedOut() | LegEnded():
                return

    def _early(self, leg: InboundLeg) -> None:
        leg.listener = self._polite
        if leg.request.body:
            leg.ring(183, body=self._sdp(leg))

    def _ring_now(self, leg: InboundLeg) -> None:
        if not leg.ended and not leg.answered:
            leg.ring()

    def _answer_now(self, leg: InboundLeg) -> None:
        if leg.ended or leg.answered:
            return
        leg.answer(self._sdp(leg))
        if self.rng.random() < 0.4:
            self._later(2.0, 20.0, leg.hangup)

    def _refuse_now(self, leg: InboundLeg) -> None:
        if not leg.ended and not leg.answered:
            leg.refuse(self.rng.choice(REFUSALS))

    def _offer_again(self, leg: InboundLeg, direction: str) -> None:
        if leg.answered and not leg.ended:
            leg.reinvite(make_offer(self.host, 7004, session_id=5, version=2, direction=direction))

    def _offer_by_update(self, leg: InboundLeg, direction: str) -> None:
        if leg.confirmed and not leg.ended:
            leg.update(make_offer(self.host, 7006, session_id=5, version=3, direction=direction))

    def _refer_now(self, leg: InboundLeg, leave: bool = False) -> None:
        if not leg.confirmed or leg.ended:
            return
        target = self.rng.choice(self.transfer_targets or ["sip:nobody@nowhere.invalid"])
        leg._request("REFER", (("Refer-To", f"<{target}>"),), b"", lambda _: None, lambda _: None)
        if leave:
            self._later(0.0, 0.5, leg.hangup)

    def _wake_up(self) -> None:
        self.peer.deaf = False

    def _die(self) -> None:
        if not self.peer.deaf:
            self.peer.crash()
            self._fall_silent()
            self._later(5.5, 12.0, self._come_again)

    def _come_again(self) -> None:
        self.peer.restart()
        self.mute_since = None

    def _fall_silent(self) -> None:
        self.mute_since = self._loop.time()

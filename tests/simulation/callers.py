"""Carriers' callers: they wait, talk, hold, give up, hang up, vanish, and try again."""

from __future__ import annotations

import random
from contextlib import suppress

from gateway.sip.events import (
    AnswerReceived,
    Event,
    FailureReceived,
    HungUp,
    LegEnded,
    ReinviteAnswered,
    ReinviteReceived,
)
from gateway.sip.leg import LegStateError
from gateway.sip.outbound_leg import OutboundLeg
from gateway.sip.sdp import answer_offer, make_offer
from tests.simulation.network import SimulatedNetwork
from tests.simulation.peer import PORT, Peer, any_extensions

GATEWAY = "10.0.0.1"
SESSION_ID = "X-Telnyx-Session-ID"


class SimulatedCaller:
    """One caller on a host of its own, with one call.

    Attributes:
        outcome: how the call ended as the caller saw it: a status, or ``"caller hung up"``, ``"hung up on"``,
            ``"vanished"``; None while it lasts.

    """

    def __init__(self, network: SimulatedNetwork, number: int, dialled: str) -> None:
        self._network = network
        self._loop = network.loop
        self.host = f"10.2.{number >> 8}.{number & 255}"
        self.rng = random.Random(f"caller {number} {network.rng.random()}")
        self.peer = Peer(network, self.host, extensions=any_extensions(network.rng))
        self.dialled = dialled
        self.session = f"session-{number}"
        self.leg: OutboundLeg | None = None
        self.late_offer = self.rng.random() < 0.1
        self.transport = "tcp" if self.rng.random() < 0.2 else "udp"
        self.outcome: str | int | None = None

    async def start(self) -> None:
        await self.peer.start()
        self._later(0.0, 5.0, self.dial)

    def dial(self) -> None:
        self.leg = self._place(self.peer)
        fate = self.rng.random()
        if fate < 0.3:
            self._later(0.0, 12.0, self._give_up)
        elif fate < 0.36:
            self._later(0.0, 12.0, self._vanish)
        elif fate < 0.5:
            self._later(0.01, 8.0, self._try_again)

    def _place(self, peer: Peer) -> OutboundLeg:
        transport = f";transport={self.transport}" if self.transport == "tcp" else ""
        return peer.agent.invite(
            f"sip:{self.dialled}@{GATEWAY}:{PORT}{transport}",
            peer.flow(GATEWAY, PORT, self.transport),
            from_=f"<sip:+14155550123@{self.host}>",
            to=f"<sip:{self.dialled}@{GATEWAY}>",
            body=b"" if self.late_offer else self._offer(),
            headers=((SESSION_ID, self.session),),
            listener=self._heard,
        )

    def _offer(self, direction: str = "sendrecv", version: int = 1, port: int = 6000) -> bytes:
        return make_offer(self.host, port, session_id=9, version=version, direction=direction)

    def _later(self, low: float, high: float, action, *arguments: object) -> None:
        self._loop.call_later(self.rng.uniform(low, high), action, *arguments)

    def _heard(self, event: Event) -> None:
        match event:
            case AnswerReceived(leg=leg, response=response):
                if self.late_offer:
                    leg.ack(answer_offer(response.body, self.host, 6000, session_id=9).sdp)
                self._talk(leg)
            case ReinviteAnswered(leg=leg, response=response):
                with suppress(LegStateError):  # ours made the offer, so there is nothing left to answer
                    leg.ack(answer_offer(response.body, self.host, 6000, session_id=9).sdp)
            case FailureReceived(status=status):
                self.outcome = self.outcome or status
            case HungUp():
                self.outcome = self.outcome or "hung up on"
            case LegEnded():
                self.outcome = self.outcome or "gave up"
            case ReinviteReceived(leg=leg, request=request):
                if self.rng.random() < 0.1:
                    leg.refuse_reinvite(488)
                elif request.body:
                    leg.answer_reinvite(answer_offer(request.body, self.host, 6002, session_id=9).sdp)
                else:
                    leg.answer_reinvite(self._offer())

    def _talk(self, leg: OutboundLeg) -> None:
        fate = self.rng.random()
        if fate < 0.6:
            self._later(0.0, 30.0, self._hang_up, leg)
        elif fate < 0.7:
            self._later(0.0, 20.0, self._vanish)
        if self.rng.random() < 0.3:
            for number, direction in enumerate(("sendonly", "sendrecv", "")):
                self._later(0.5, 12.0, self._offer_again, leg, direction, number + 2)

    def _offer_again(self, leg: OutboundLeg, direction: str, version: int) -> None:
        if leg.answered and not leg.ended:
            leg.reinvite(self._offer(direction, version, 6000 + 2 * version) if direction else b"")

    def _give_up(self) -> None:
        """CANCEL, or BYE if the answer has come meanwhile."""
        assert self.leg is not None
        self.outcome = self.outcome or "caller hung up"
        self.leg.hangup()

    def _hang_up(self, leg: OutboundLeg) -> None:
        self.outcome = self.outcome or "caller hung up"
        leg.hangup()

    def _vanish(self) -> None:
        if self.outcome is None:
            self.outcome = "vanished"
            self._network.vanish(self.host)

    def _try_again(self) -> None:
        """The carrier's second address, which knows nothing of the first try's answer."""
        second = Peer(self._network, self.host.replace("10.2.", "10.3.", 1))
        self._loop.create_task(self._second_try(second))

    async def _second_try(self, second: Peer) -> None:
        await second.start()
        self._place(second)

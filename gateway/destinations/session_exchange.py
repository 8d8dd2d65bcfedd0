"""Carrying changes of the session between two answered legs (RFC 3261 §14, RFC 3264 §8).

One change at a time, and whoever asked is answered only once the other side has answered. A request that
crosses another one gets 491 and is tried again by its sender.
"""

from __future__ import annotations

from contextlib import suppress

from gateway.destinations.audio_path import AudioPath
from gateway.destinations.base import Call
from gateway.destinations.direction import on_hold, permitted
from gateway.destinations.repeated import repeated
from gateway.destinations.silence import Party
from gateway.sip.events import ReinviteFailed
from gateway.sip.leg import Leg
from gateway.sip.message import Request
from gateway.sip.sdp import SdpError

NOT_ACCEPTABLE = 488
REQUEST_PENDING = 491

ABOUT_ONE_LEG = frozenset({401, 407, 408, 481, 503})
"""Refusals of a re-INVITE that speak of one leg alone: the other one is told 488 instead."""


class SessionExchange:
    """The session descriptions of one bridged call.

    Args:
        agent: answered.
        offered: what the agent was offered; empty when the offer was left to it.
        answered: what it answered.

    """

    __slots__ = (
        "_agent",
        "_agent_knows",
        "_answered",
        "_answers_in_ack",
        "_asking",
        "_call",
        "_carried",
        "_holding",
        "_offer",
        "_path",
        "_shown_before",
        "_telling",
    )

    def __init__(self, call: Call, agent: Leg, path: AudioPath, offered: bytes, answered: bytes) -> None:
        self._call = call
        self._agent = agent
        self._path = path
        self._agent_knows = offered
        self._answered = answered
        # A caller who left the offer to us answers in the ACK (RFC 3261 §13.2.1).
        self._answers_in_ack: Party | None = None if call.audio.theirs else "caller"
        self._asking: Leg | None = None
        self._telling = False
        self._offer = self._carried = self._shown_before = b""
        self._holding: set[Party] = set()
        self._note_hold("caller", call.audio.theirs)
        self._note_hold("agent", answered)

    @property
    def on_hold(self) -> bool:
        """Whether a party holds the other one."""
        return bool(self._holding)

    @property
    def established(self) -> bool:
        """Whether both legs have their answer; in between, an agent waits for the caller's ACK."""
        return bool(self._agent_knows)

    @property
    def agent_knows(self) -> bytes:
        """The session description that the agent has from us; empty before there is one."""
        return self._agent_knows

    @property
    def agent_said(self) -> bytes:
        """The one that we have from the agent."""
        return self._answered

    def offered(self, asking: Leg, request: Request) -> None:
        """A party sent a re-INVITE or an UPDATE; one that changes nothing concerns nobody else."""
        offer = request.body
        if self._asking is not None or self._telling:
            asking.refuse_reinvite(REQUEST_PENDING)
        elif offer and offer == self._last_from(asking) and self.established:
            try:
                asking.answer_reinvite(repeated(self._known_to(asking), offer))
            except SdpError:
                asking.refuse_reinvite(NOT_ACCEPTABLE)
        elif not offer:  # it wants ours: the session in force
            self._answers_in_ack = self._party(asking)
            asking.answer_reinvite(self._known_to(asking))
        else:
            self._shown_before = self._call.audio.shown
            try:
                self._carried = self._carry_offer(asking, offer)
            except SdpError:
                asking.refuse_reinvite(NOT_ACCEPTABLE)
                return
            self._asking = asking
            self._offer = offer
            other = self._other(asking)
            by_update = request.method == "UPDATE" and other.takes_update
            (other.update if by_update else other.reinvite)(self._carried)

    def refreshed(self, leg: Leg, answer: bytes) -> None:
        """A party answered a refresh of ours, perhaps from another address."""
        if self._asking is None and not self._telling and self.established:
            with suppress(SdpError):  # the session stays as it was
                self._follow(leg, answer)

    def answered(self, answering: Leg, answer: bytes) -> None:
        """A party accepted the re-INVITE that was carried to it."""
        asking, self._asking = self._asking, None
        self._telling = False
        if asking is None:
            return
        try:
            if self._path.relayed:
                answer = permitted(answer, self._offer)
            carried = self._carry_answer(answering, answer, self._offer)
            self._follow(answering, answer)
            self._follow(asking, self._offer)
        except SdpError:
            asking.refuse_reinvite(NOT_ACCEPTABLE)
            return
        self._agent_knows = carried if asking is self._agent else self._carried
        asking.answer_reinvite(carried)

    def refused(self, failure: ReinviteFailed) -> str | None:
        """A party refused the re-INVITE carried to it. Why that party must be given up, if it must."""
        if failure.leg is self._agent and failure.response is None and failure.status != REQUEST_PENDING:
            return f"agent did not take a re-INVITE ({failure.status})"
        asking, self._asking = self._asking, None
        self._telling = False
        if asking is not None:
            self._call.audio.shown = self._shown_before
            asking.refuse_reinvite(NOT_ACCEPTABLE if failure.status in ABOUT_ONE_LEG else failure.status)
        return None

    def acknowledged(self, leg: Leg, answer: bytes) -> str | None:
        """An ACK came; an answer in it is told to both sides. Why the call cannot go on, if it cannot."""
        if self._party(leg) != self._answers_in_ack:
            return None
        self._answers_in_ack = None
        first = leg is self._call.caller and not self._call.audio.theirs
        before = self._call.audio.theirs, self.on_hold
        try:
            self._follow(leg, answer)
            if first:
                carried = self._carry_answer(leg, answer, self._answered)
            elif self._moved(leg, before[0]) or self.on_hold != before[1]:
                carried = self._carry_offer(leg, answer)
            else:
                return None
        except SdpError as error:  # an empty answer among them
            return f"caller acknowledged without a usable answer: {error}" if first else None
        if not self._agent_knows:
            self._agent.ack(carried)
            self._agent_knows = carried
        elif not first:
            self._telling = True
            self._other(leg).reinvite(carried)
        return None

    def close(self) -> None:
        """The bridge comes down, or a leg is another one now: who waits for an answer may ask again later."""
        self._telling = False
        if self._asking is not None:
            self._asking.refuse_reinvite(REQUEST_PENDING)
            self._asking = None

    def _known_to(self, leg: Leg) -> bytes:
        """What a party has from us."""
        return self._agent_knows if leg is self._agent else self._call.audio.shown

    def _last_from(self, leg: Leg) -> bytes:
        """What we have from a party."""
        return self._answered if leg is self._agent else self._call.audio.theirs

    def _other(self, leg: Leg) -> Leg:
        return self._call.caller if leg is self._agent else self._agent

    def _party(self, leg: Leg) -> Party:
        return "agent" if leg is self._agent else "caller"

    def _moved(self, leg: Leg, theirs_before: bytes) -> bool:
        """Whether an answer changed where direct media must go; a relay has followed it already."""
        if self._path.relayed:
            return False
        return leg is self._agent or self._call.audio.theirs != theirs_before

    def _carry_offer(self, sender: Leg, offer: bytes) -> bytes:
        path = self._path
        return (path.offer_to_caller if sender is self._agent else path.offer_to_agent)(offer)

    def _carry_answer(self, sender: Leg, answer: bytes, offer: bytes) -> bytes:
        path = self._path
        return (path.answer_to_caller if sender is self._agent else path.answer_to_agent)(answer, offer)

    def _follow(self, sender: Leg, description: bytes) -> None:
        """The description is in force now."""
        if sender is self._agent:
            self._path.follow_agent(description)
            self._answered = description
        else:
            self._path.follow_caller(description)
        self._note_hold(self._party(sender), description)

    def _note_hold(self, party: Party, description: bytes) -> None:
        (self._holding.add if on_hold(description) else self._holding.discard)(party)

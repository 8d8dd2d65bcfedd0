"""Legs of calls that were answered in another process: as they would be here if it had been this one.

Everything of the first INVITE is over; what is left is the dialog. Its sequence numbers go on well above
those that are known, since the last ones that the other process used may not have been kept: gaps are legal,
repetitions are not (RFC 3261 §12.2.1.1, §12.2.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from gateway.sip.dialog import Dialog
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.leg import Leg
from gateway.sip.outbound_leg import OutboundLeg
from gateway.sip.session_timer import SessionTimer
from gateway.sip.settled_invites import SettledReceivedInvite, SettledSentInvite

if TYPE_CHECKING:
    from gateway.sip.core import Core
    from gateway.sip.flow import Flow
    from gateway.sip.leg_state import LegState

CSEQ_GAP = 1000
"""Sequence numbers left out: more requests than we send in one dialog between two times that it is kept."""


class RebuiltInboundLeg(InboundLeg):
    """A caller's leg, answered and confirmed; it has no `request`.

    Args:
        core: the surroundings.
        state: of the leg, when it was last kept.
        flow: the path to the peer, from a socket of ours.
        peer: as `InboundLeg.peer`.

    """

    __slots__ = ()

    def __init__(self, core: Core, state: LegState, flow: Flow, peer: object) -> None:
        Leg.__init__(self, core, state.call_id, state.local_tag, flow)
        _restore(self, core, state)
        self._invite = SettledReceivedInvite()
        self.peer = peer
        self.merged_with = None
        self.confirmed = True


class RebuiltOutboundLeg(OutboundLeg):
    """An agent's leg, answered and acknowledged.

    Args:
        core: the surroundings.
        state: of the leg, when it was last kept.
        flow: the path to the peer, from a socket of ours.

    """

    __slots__ = ()

    def __init__(self, core: Core, state: LegState, flow: Flow) -> None:
        Leg.__init__(self, core, state.call_id, state.local_tag, flow)
        _restore(self, core, state)
        self._invite = SettledSentInvite()
        self._early_tags = ()
        self.answered = True


RebuiltLeg: TypeAlias = RebuiltInboundLeg | RebuiltOutboundLeg


def _restore(leg: Leg, core: Core, state: LegState) -> None:
    """Give a leg what every leg has once it is established."""
    leg.sips = state.sips
    leg.described = state.described
    timer = None if state.timer is None else SessionTimer(core, leg, state.timer)
    leg.restore(_dialog(state), takes_update=state.takes_update, timer=timer)


def _dialog(state: LegState) -> Dialog:
    return Dialog(
        state.call_id,
        local=state.local,
        remote=state.remote,
        local_tag=state.local_tag,
        remote_tag=state.remote_tag,
        local_cseq=state.local_cseq + CSEQ_GAP,
        remote_cseq=state.remote_cseq,
        remote_target=state.remote_target,
        routes=state.routes,
    )

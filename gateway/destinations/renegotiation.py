"""Giving a caller who was answered already a new session: a call that moves on without being dropped."""

from __future__ import annotations

from gateway.destinations.base import Call, Declined
from gateway.sip.events import (
    HungUp,
    LegEnded,
    ReinviteAnswered,
    ReinviteFailed,
    ReinviteReceived,
    SessionExpired,
)
from gateway.sip.leg import Leg

PATIENCE = 34.0
"""Seconds for the caller's answer: beyond 64*T1, after which the transaction itself has failed, so that this
is only a net under it."""


async def renegotiate(call: Call, offer: bytes, agent: Leg | None = None) -> bytes | Declined:
    """Offer the caller another session by re-INVITE; the answer, or why there is none. Raises CallerLeft.

    agent: a leg waiting to be connected, which may hang up meanwhile.
    """
    call.caller.reinvite(offer)
    deadline = call.now() + PATIENCE
    while True:
        event = await call.next_event(deadline)
        match event:
            case ReinviteAnswered() if event.leg is call.caller:
                if event.response.body:
                    return event.response.body
                return Declined("caller answered the re-INVITE without a session description")
            case ReinviteFailed() if event.leg is call.caller:
                return Declined(f"caller refused the re-INVITE with {event.status}")
            case HungUp() | LegEnded() | SessionExpired() if event.leg is agent:
                return Declined("hung up at once")
            case ReinviteReceived():
                event.leg.refuse_reinvite(491)
            case None:
                return Declined("caller did not answer the re-INVITE")

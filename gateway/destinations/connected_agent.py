"""An agent over SIP that has the call: it talks with the caller, or has sent it on and waits for the outcome.

A transfer is a new plan (`gateway.calls.dispatcher`): where the caller is to go, and behind that the agent
that sent it there. When somebody takes the call the agent is told so and let go; when nobody does it is told
that, and goes on with the caller where it left off.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.destinations.audio_path import AudioPath
from gateway.destinations.base import Call, Connection, Declined, Lost, Moved, Outcome, ignore
from gateway.destinations.bridge import Bridge
from gateway.destinations.transfers import SentOn
from gateway.destinations.trunk import Lease
from gateway.sip.events import (
    Event,
    HungUp,
    LegEnded,
    ReinviteReceived,
    SessionExpired,
)
from gateway.sip.leg import Leg
from gateway.sip.referral import Referral

NOT_TAKEN = 480
"""What an agent is told of a transfer when nothing says more."""


class ConnectedAgent:
    """A destination that is taken up again only by the call that it has.

    Args:
        endpoint: its URL.
        leg, path, lease: its own from now on, and given back when it is over.
        on_lost: told the reason when the agent vanishes.

    """

    __slots__ = (
        "_bridge",
        "_call",
        "_endpoint",
        "_lease",
        "_leg",
        "_on_lost",
        "_over",
        "_path",
        "_referral",
        "name",
        "role",
    )

    def __init__(
        self,
        call: Call,
        role: str,
        name: str,
        endpoint: str,
        leg: Leg,
        path: AudioPath,
        bridge: Bridge,
        lease: Lease,
        on_lost: Callable[[str], None],
    ) -> None:
        self.role = role
        self.name = name
        self._endpoint = endpoint
        self._call = call
        self._leg = leg
        self._path = path
        self._bridge = bridge
        self._lease = lease
        self._on_lost = on_lost
        self._referral: Referral | None = None
        self._over = False

    def obstacle(self, call: Call) -> Declined | None:
        """Nothing: it has the call already."""
        return None

    async def take(self, call: Call) -> Outcome:
        """Talk with the caller until somebody ends that, or the caller is sent on."""
        if self._referral is not None and not self._come_back(self._referral):
            return Declined(f"{self.name}: has left after a transfer")
        waits = False
        self._call.connected = self
        try:
            ending = await self._bridge.run()
            if isinstance(ending, SentOn):
                self._step_aside(ending.referral)
                waits = True
                return Moved(ending.target, self)
            if isinstance(ending, Lost):
                self._on_lost(ending.reason)
            return ending
        finally:
            self._call.connected = None
            if not waits:
                try:
                    await self._path.last_look()
                finally:
                    self.let_go()

    def connection(self) -> Connection:
        """See `Connected`."""
        bridge = self._bridge
        return Connection(
            self.role,
            self.name,
            self._endpoint,
            self._leg,
            self._path.engine_call or ("here" if self._path.relayed else "direct"),
            bridge.offered,
            bridge.answered,
            bridge.talked,
        )

    # --- while somebody else is tried

    def _step_aside(self, referral: Referral) -> None:
        self._referral = referral
        self._call.aside = self
        self._leg.listener = self._heard_aside
        self._path.suspend()

    def _come_back(self, referral: Referral) -> bool:
        """Nobody took the call; False if the agent has not waited for it."""
        self._call.aside = None
        referral.report(*self._failure())
        self._referral = None
        if self._over:
            self._call.transferred("failed")
            return False
        self._call.transferred("returned")
        self._call.audio.change_hands()
        self._leg.listener = self._call.deliver
        self._path.resume()
        return True

    def _failure(self) -> tuple[int, str | None]:
        """How the last one who was tried refused: its status line, if it was one."""
        answer = self._call.tried[-1].answer if self._call.tried else ""
        status, _, reason = answer.partition(" ")
        if len(status) == 3 and status.isdigit() and int(status) >= 300:
            return int(status), reason
        return NOT_TAKEN, None

    def _heard_aside(self, event: Event) -> None:
        match event:
            case ReinviteReceived():
                event.leg.refuse_reinvite(491)
            case HungUp() | LegEnded() | SessionExpired():
                self.let_go()

    def taken(self) -> None:
        """Somebody else has the call: say so, and goodbye."""
        if self._referral is not None:
            self._referral.report(200)
        self._call.transferred("completed")
        self.let_go()

    def abandoned(self) -> None:
        """The caller has not waited."""
        if self._referral is not None:
            self._referral.report(487)
        self._call.transferred("abandoned")
        self.let_go()

    def let_go(self) -> None:
        """Say goodbye to the agent, unless it has said so, and give back what it took. Idempotent."""
        if self._over:
            return
        self._over = True
        self._leg.listener, self._leg.guard = ignore, None
        self._leg.hangup(self._call.farewell)
        self._path.close()
        self._call.leg_heard(self.name, self._path.agent_stats)
        self._lease.release()

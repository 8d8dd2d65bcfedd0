"""An established call whose process died, on its way to the dispatcher of another one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.admission.carriers import Carrier
from gateway.calls.call import Call
from gateway.calls.identity import CallerIdentity
from gateway.calls.records import CallRecord
from gateway.destinations.base import Destination
from gateway.sip.inbound_leg import InboundLeg


@dataclass(frozen=True, slots=True)
class Orphan:
    """What is known of it.

    caller: the caller's leg, rebuilt, and its own from now on.
    record: as far as the other process had come.
    theirs, shown: see `CallerAudio`.
    carrier_headers, max_forwards, identity, rescued: see `Call`.
    agent: makes the destination that has the call; None if nobody can go on with it.
    role, cause: what its record says then.
    elapsed: seconds since its INVITE.
    """

    caller: InboundLeg
    record: CallRecord
    carrier: Carrier
    theirs: bytes
    shown: bytes
    carrier_headers: list[tuple[str, str]]
    max_forwards: int
    identity: CallerIdentity
    rescued: bool
    agent: Callable[[Call], Awaitable[Destination]] | None
    role: str
    cause: str
    elapsed: float

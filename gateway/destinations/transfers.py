"""What an agent over SIP may ask for by REFER: where its caller goes on (RFC 3515)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.destinations.remote_control import Target
from gateway.sip.message import Request
from gateway.sip.referral import Referral


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a transfer is not even tried: what the agent's REFER is answered."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class SentOn:
    """An agent that has the call sends it on; it waits for what becomes of that."""

    target: Target
    referral: Referral


class Transfers(Protocol):
    """Who may be transferred where; `gateway.calls.transfers` decides."""

    def judge(self, refer: Request, referral: Referral) -> Target | Refused:
        """Where a REFER leads to, or why it leads nowhere."""

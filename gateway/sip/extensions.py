"""What this user agent does beyond RFC 3261, where an extension leaves it the choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from gateway.sip.message import Message, Request

Reliability: TypeAlias = Literal["off", "required", "supported"]

RELIABLE = "100rel"
TIMER = "timer"

MIN_INTERVAL = 90
"""Seconds; no session timer may be shorter (RFC 4028 §5)."""


@dataclass(frozen=True, slots=True)
class Extensions:
    """The operator's choices.

    reliable: when provisional responses of ours are sent until the caller has confirmed them (RFC 3262):
        never (and neither do we confirm anybody's), where the caller requires it, or wherever it can.
    session_expires: seconds of the session timers that we ask for (RFC 4028); 0 asks for none, and does
        what peers ask for.
    min_se: seconds below which a peer's session timer is refused with 422; at least `MIN_INTERVAL`.
    """

    reliable: Reliability = "required"
    session_expires: int = 0
    min_se: int = MIN_INTERVAL

    @property
    def tags(self) -> tuple[str, ...]:
        """The option tags of what is supported (RFC 3261 §19.2)."""
        return (TIMER,) if self.reliable == "off" else (TIMER, RELIABLE)

    def answers_reliably(self, invite: Request) -> bool:
        """Whether provisional responses to this INVITE must be confirmed.

        An INVITE without an offer gets them only where it insists: the first one would have to make the
        offer (RFC 3261 §13.2.1), before there is anybody to make it.
        """
        if self.reliable == "off":
            return False
        if lists_option(invite, "Require", RELIABLE):
            return True
        return (
            self.reliable == "supported" and bool(invite.body) and lists_option(invite, "Supported", RELIABLE)
        )


def lists_option(message: Message, name: str, tag: str) -> bool:
    """Whether a header of option tags (Supported, Require) has this one; case does not matter."""
    if message.headers.get(name) is None:
        return False
    return any(
        tag == one.strip().lower() for line in message.headers.get_all(name) for one in line.split(",")
    )

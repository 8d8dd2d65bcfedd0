"""The seam at which a leg's session descriptions are changed on their way in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from gateway.sip.events import Event

EventT = TypeVar("EventT", bound="Event")


class SessionGuard(Protocol):
    """Stands between a leg and its owner, for what only the two ends of the leg are to know (SRTP keys)."""

    def came(self, event: Event) -> Event:
        """An event as its owner may see it. Must not raise."""

    def leaves(self, description: bytes, *, offer: bool) -> bytes:
        """A description as the peer gets it. Must not raise.

        offer: certainly an offer, a re-INVITE's or an UPDATE's; otherwise it answers the peer's latest offer,
            if that made one.
        """

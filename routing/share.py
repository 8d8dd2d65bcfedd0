"""One gateway's share of an endpoint's places (``max_calls``): what it holds, and what it asks the ledger.

Pure: claims go out and answers come in, `now` is given, nothing waits. The ledger, which all gateways share,
is in `routing.ledger`.

A claim says how many places are in use here and how many are wanted, both absolute, under a number that only
grows. So one message takes places, gives them back, renews them and mends whatever was lost or overtaken on
the way; the last one that arrives is the truth. There is one claim on its way at a time, and calls that come
meanwhile share the next one.

Places that are free again are kept for the next calls, as many as were in use at once since the last look,
and given back soon after; at once where an endpoint is nearly full, since others may want them.

Without an answer the share stands alone, and takes no more than its part: the places divided by the gateways
that were known, rounded up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

LIFETIME: Final = 12.0
"""Seconds, of the ledger's clock, for which a claim counts: a gateway that died gives its places back after
that."""

RENEWAL: Final = 4.0
"""Seconds after which what is held is claimed again: two claims may be lost."""

TRUSTED: Final = LIFETIME / 2
"""Seconds, of our clock, for which places that the ledger has given us and nobody uses may be taken without
asking: half of their lifetime, whoever's clock is fast."""

FULL_SECONDS: Final = 0.25
"""For which the ledger's no is believed: calls on an endpoint that is full ask four times a second."""


CROWDED: Final = 0.8
"""Of the places, in use everywhere: from there on nobody keeps any for later."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What goes to the ledger.

    number: grows; held: places in use, which nobody can take away; wanted: how many there should be.
    limit: for everybody; sent_at: by our clock.
    """

    number: int
    held: int
    wanted: int
    limit: int
    sent_at: float


@dataclass(slots=True)
class Share:
    """Places of one endpoint, as one gateway has them.

    limit: of the endpoint, as the last call said. numbers: of claims, one after the other; shared by all
        shares of one owner, so that one that was forgotten goes on where it was.
    held: in use here; peak: at once since the last look. waiting: calls that wait for one.
    granted: what the ledger counts for us at least; until `trusted_until`, by our clock.
    total: in use everywhere as of `asked_at`, by our clock.
    """

    limit: int
    numbers: Iterator[int]
    held: int = 0
    peak: int = 0
    waiting: int = 0
    granted: int = 0
    trusted_until: float = float("-inf")
    total: int = 0
    asked_at: float = float("-inf")
    full_until: float = float("-inf")
    under_way: Claim | None = None
    _unsaid: bool = False

    def take_spare(self, now: float) -> bool:
        """Take a place that the ledger has given us and nobody uses; tells whether there was one."""
        if self.held < self.granted and now < self.trusted_until and self.held < self.limit:
            self._use(1)
            return True
        return False

    def take_alone(self, gateways: int, now: float) -> bool:
        """Take a place without the ledger; tells whether our part of them has room.

        gateways: that are known, at least 1.
        """
        part = -(-self.limit // max(1, gateways))
        if now < self.trusted_until:
            part = max(part, min(self.granted, self.limit))
        if self.held >= part:
            return False
        self._use(1)
        self._unsaid = True
        return True

    def hold(self) -> None:
        """Count a call that is there already, whatever the limit says: it was taken over from another."""
        self._use(1)
        self._unsaid = True

    def give_back(self) -> bool:
        """One call is over; tells whether that is to be said at once."""
        self.held -= 1
        self._unsaid = self._unsaid or self.crowded
        return self._unsaid

    @property
    def crowded(self) -> bool:
        """Whether others may want what is free here."""
        return self.total > CROWDED * self.limit

    def look(self) -> None:
        """Stop keeping more than was in use at once since the last look."""
        if self.granted > max(self.peak, self.held):
            self._unsaid = True
        self.peak = self.held

    def _use(self, places: int) -> None:
        self.held += places
        self.peak = max(self.peak, self.held)

    @property
    def _kept(self) -> int:
        return 0 if self.crowded else min(self.granted, self.peak)

    def claim(self, now: float) -> Claim | None:
        """The next message to the ledger, if there is anything to say and none is under way."""
        if self.under_way is not None:
            return None
        due = self.held or self.granted
        if not self.waiting and not self._unsaid and not (due and now - self.asked_at >= RENEWAL):
            return None
        return self.inquiry(now)

    def inquiry(self, now: float) -> Claim | None:
        """The next message, even if it says nothing new: its answer tells how many places are in use."""
        if self.under_way is not None:
            return None
        self._unsaid = False
        wanted = max(self.held + self.waiting, self._kept)
        claim = Claim(next(self.numbers), self.held, wanted, self.limit, now)
        self.granted = min(self.granted, claim.wanted)  # what is given back is not ours any more
        self.under_way = claim
        return self.under_way

    def leave(self) -> None:
        """A call waits no longer."""
        self.waiting -= 1

    def answered(self, granted: int, total: int, now: float) -> tuple[int, int]:
        """Take the ledger's answer to the claim that was under way.

        granted: places that it counts for us now; total: for everybody.
        Returns how many of the waiting calls have a place now, and how many do not get one; the others wait
        for the next claim.
        """
        claim, self.under_way = self.under_way, None
        assert claim is not None  # noqa: S101 - an answer without a question is a fault of ours
        self.granted, self.total = granted, total
        self.asked_at, self.trusted_until = claim.sent_at, claim.sent_at + TRUSTED
        placed = min(self.waiting, max(0, min(granted, self.limit) - self.held))
        self._use(placed)
        self.waiting -= placed
        refused = self.waiting if granted < claim.wanted else 0
        self.waiting -= refused
        if refused:
            self.full_until = now + FULL_SECONDS
        if granted != self.held and self.crowded:
            self._unsaid = True
        return placed, refused

    def unanswered(self) -> None:
        """Nobody knows whether the claim under way was heard: the next one tells all."""
        self.under_way = None
        self._unsaid = True

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost with it."""
        return not (self.held or self.granted or self.waiting or self._unsaid) and self.under_way is None

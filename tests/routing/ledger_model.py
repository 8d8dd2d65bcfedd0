"""What `routing.ledger` does in Redis, in Python: for thousands of schedules on a clock of their own."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from routing.share import LIFETIME, Claim


@dataclass
class LedgerModel:
    """Of one endpoint. owners: places, number of the last claim, and when it runs out; total: their places."""

    now: float = 0.0
    owners: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    total: int = 0
    _ends: deque[tuple[float, str]] = field(default_factory=deque)
    """When claims run out, the first first: all last equally long. Those made anew since stand in it, too."""

    def expire(self) -> None:
        while self._ends and self._ends[0][0] <= self.now:
            until, owner = self._ends.popleft()
            if owner in self.owners and self.owners[owner][2] == until:
                self.total -= self.owners.pop(owner)[0]

    def claim(self, owner: str, claim: Claim) -> tuple[int, int]:
        self.expire()
        mine, last, _ = self.owners.get(owner, (0, 0, 0.0))
        if claim.number <= last:
            return mine, self.total
        granted = max(claim.held, min(claim.wanted, claim.limit - (self.total - mine)))
        self.total += granted - mine
        until = self.now + LIFETIME
        self.owners[owner] = (granted, claim.number, until)
        self._ends.append((until, owner))
        return granted, self.total

"""What `routing.ledger` does in Redis, in Python: for thousands of schedules on a clock of their own."""

from __future__ import annotations

from dataclasses import dataclass, field

from routing.share import LIFETIME, Claim


@dataclass
class LedgerModel:
    """Of one endpoint. owners: places, number of the last claim, and when it runs out."""

    now: float = 0.0
    owners: dict[str, tuple[int, int, float]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(places for places, _, _ in self.owners.values())

    def expire(self) -> None:
        self.owners = {owner: told for owner, told in self.owners.items() if told[2] > self.now}

    def claim(self, owner: str, claim: Claim) -> tuple[int, int]:
        self.expire()
        mine, last, _ = self.owners.get(owner, (0, 0, 0.0))
        if claim.number <= last:
            return mine, self.total
        granted = max(claim.held, min(claim.wanted, claim.limit - (self.total - mine)))
        self.owners[owner] = (granted, claim.number, self.now + LIFETIME)
        return granted, self.total

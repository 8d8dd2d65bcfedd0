"""How far the routing cache has come in a store's outbox, as it is written there."""

from __future__ import annotations

from dataclasses import dataclass, replace

UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class Place:
    """A place in an outbox.

    store_id: which store's; revision: of the last change that the cache has; mark: of that change.
    verified: whether all that came before it is known to be there. A publisher that finds another one's
        unfinished repair goes on with it.
    """

    store_id: str
    revision: int
    mark: str
    verified: bool = True

    def __str__(self) -> str:
        text = f"store/{self.store_id}/{self.revision}/{self.mark}"
        return text if self.verified else f"{text}/{UNVERIFIED}"

    def at(self, revision: int, mark: str) -> Place:
        """The same, further on."""
        return replace(self, revision=revision, mark=mark)


def parse_place(text: str | None) -> Place | None:
    """The place that a text tells; None for one that is not a store's."""
    parts = (text or "").split("/")
    if len(parts) not in (4, 5) or parts[0] != "store" or not parts[2].isdigit():
        return None
    return Place(parts[1], int(parts[2]), parts[3], verified=len(parts) == 4)

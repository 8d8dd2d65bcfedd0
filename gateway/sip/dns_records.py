"""What DNS says of a SIP domain, as values (RFC 3263 §4, RFC 2782, RFC 3403)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

Kind: TypeAlias = Literal["A", "AAAA", "SRV", "NAPTR"]


class DnsError(OSError):
    """A question got no answer: nobody answered in time, or the servers cannot. Fit for a log line."""


@dataclass(frozen=True, slots=True)
class Srv:
    """A server of a service: lower priority first, equal ones share by weight; "." means there is none."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Naptr:
    """A way to reach a domain: lower order first, then lower preference."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


Record: TypeAlias = str | Srv | Naptr
"""An address is its literal."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found; nothing, if the name or the type does not exist.

    lifetime: seconds that it counts, as its sender says.
    """

    records: tuple[Record, ...]
    lifetime: float


class Dns(Protocol):
    """Whoever can be asked."""

    async def ask(self, name: str, kind: Kind) -> Answer:
        """One question. Raises DnsError."""


def in_order(servers: Iterable[Srv], chance: Callable[[], float]) -> list[Srv]:
    """The servers in the order to be tried (RFC 2782): by priority, those of one priority by weighted chance.

    chance: a random number from 0 up to 1.
    """
    ordered: list[Srv] = []
    by_priority: dict[int, list[Srv]] = {}
    for server in servers:
        if server.target not in {"", "."}:
            by_priority.setdefault(server.priority, []).append(server)
    for priority in sorted(by_priority):
        left = sorted(by_priority[priority], key=lambda server: server.weight > 0)  # those of weight 0 first
        while left:
            ordered.append(left.pop(_chosen(left, chance())))
    return ordered


def _chosen(servers: Sequence[Srv], chance: float) -> int:
    """Which one: the first whose running sum of weights reaches a random part of the whole sum."""
    threshold = round(chance * sum(server.weight for server in servers))
    running = 0
    for position, server in enumerate(servers):
        running += server.weight
        if running >= threshold:
            return position
    return len(servers) - 1

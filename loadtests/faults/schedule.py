"""What happens to whom, and when: made from a seed, the same for the same seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

Kind: TypeAlias = Literal["kill", "cut", "unplug", "freeze", "restart", "slow", "skew"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""The worst first."""

SECONDS: Final[dict[Kind, tuple[float, float]]] = {
    "kill": (0.5, 3.0),
    "freeze": (0.3, 4.0),
    "unplug": (0.5, 4.0),
    "cut": (6.0, 10.0),
    "restart": (5.0, 8.0),
    "slow": (2.0, 5.0),
    "skew": (2.0, 6.0),
}
"""How long each lasts, at least and at most. A killed host's programs are started again afterwards; one that
is restarted is left alone for so long, while its programs end in good order and are started again at once."""

SEA: Final = "sea"
"""What can be cut: the cable between the two regions."""

SKEWS: Final = (-3600, -90, -10, 10, 90, 3600)
"""Seconds by which a host's clock jumps, and back at the end."""

REST: Final = 1.5
"""Seconds that a host of a crowd is left alone before another of the same crowd is hit: with all its nodes
gone at once nobody could take a call, and that would show nothing."""


@dataclass(frozen=True, slots=True)
class Fault:
    """at, until: seconds since the start of the load. skew: seconds, for that kind."""

    at: float
    until: float
    kind: Kind
    host: str
    skew: int = 0

    def __str__(self) -> str:
        by = f" by {self.skew:+d} s" if self.kind == "skew" else ""
        return f"{self.at:6.2f} – {self.until:6.2f}  {self.kind}{by} {self.host}"


def may(kind: Kind, host: str) -> bool:
    """Whether it can happen there.

    Gateways (``n``) and the API have clocks. A carrier (``c``) must be there to tell what became of its
    calls: it is frozen, cut off and slow, but neither killed nor restarted.
    """
    if host == SEA or kind == "cut":
        return host == SEA and kind == "cut"
    if kind == "skew":
        return host.startswith("n") or host == "api"
    return not host.startswith("c") or kind in ("freeze", "unplug", "slow")


def schedule(
    seed: int, crowds: Sequence[Sequence[str]], seconds: float, count: int, kinds: Iterable[Kind] = KINDS
) -> list[Fault]:
    """That many faults within those seconds at most, in the order of their beginnings.

    crowds: hosts that do the same work. Of each crowd one is in trouble at a time.
    kinds: those that are wanted; a crowd that none of them can happen to is left alone.
    """
    dice = random.Random(seed)
    usable = tuple(kinds)
    able = [[host for host in crowd if any(may(kind, host) for kind in usable)] for crowd in crowds]
    able = [crowd for crowd in able if crowd]
    faults: list[Fault] = []
    for _ in range(count if able else 0):
        at = round(dice.uniform(0.5, seconds * 0.85), 2)
        host = dice.choice(dice.choice(able))
        kind = dice.choice([each for each in usable if may(each, host)])
        lasts = round(dice.uniform(*SECONDS[kind]), 2)
        skew = dice.choice(SKEWS)
        faults.append(Fault(at, round(at + lasts, 2), kind, host, skew if kind == "skew" else 0))
    return _one_at_a_time(sorted(faults, key=lambda fault: (fault.at, fault.host)), crowds)


def _one_at_a_time(faults: Sequence[Fault], crowds: Sequence[Sequence[str]]) -> list[Fault]:
    """Leave out those that begin while another of their crowd lasts, or rests."""
    crowd_of = {host: number for number, crowd in enumerate(crowds) for host in crowd}
    busy = dict.fromkeys(range(len(crowds)), 0.0)
    kept: list[Fault] = []
    for fault in faults:
        crowd = crowd_of[fault.host]
        if fault.at >= busy[crowd]:
            kept.append(fault)
            busy[crowd] = fault.until + REST
    return kept

"""The addresses that carriers publish, and how what is admitted compares with them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Final, Literal, TypeAlias

from gateway.admission.carriers import Carrier, CarrierTable, Network

FILE: Final = Path(__file__).with_name("published_ranges.toml")

OLD_DAYS: Final = 180
"""After which a list should be read again: carriers announce new ranges months ahead."""

Kind: TypeAlias = Literal["signalling", "media"]


@dataclass(frozen=True, slots=True)
class Published:
    """A range, as one page of a carrier's names it. read: when it stood there."""

    carrier: str
    kind: Kind
    network: Network
    place: str
    page: str
    read: date


@cache
def published_ranges() -> Sequence[Published]:
    """All of them, page by page."""
    pages = tomllib.loads(FILE.read_text(encoding="utf-8"))["page"]
    return tuple(
        Published(
            page["carrier"],
            page["kind"],
            ip_network(each["network"]),
            each.get("place", ""),
            page["page"],
            page["read"],
        )
        for page in pages
        for each in page["ranges"]
    )


def not_admitted(table: CarrierTable, carrier: str) -> list[Published]:
    """Ranges that a carrier may call from, and that would be dropped as a stranger's."""
    return [
        each
        for each in published_ranges()
        if (each.carrier, each.kind) == (carrier, "signalling")
        and any(table.match(str(address)) is None for address in (each.network[0], each.network[-1]))
    ]


def media_not_listed(trunk: Carrier) -> list[Published]:
    """Ranges that a trunk's audio may come from, and that its entry lacks; none if it names no ranges."""
    if not trunk.media_sources:
        return []
    return [
        each
        for each in published_ranges()
        if (each.carrier, each.kind) == (trunk.name, "media")
        and not _within(each.network, trunk.media_sources)
    ]


def not_published(trunk: Carrier) -> list[Network]:
    """Ranges of a trunk's entry that no page of the carrier's names: a typing mistake, or out of date."""
    known = [
        each.network for each in published_ranges() if (each.carrier, each.kind) == (trunk.name, "signalling")
    ]
    return [network for network in trunk.sources if known and not _within(network, known)]


def _within(network: Network, others: Iterable[Network]) -> bool:
    return any(network[0] in other and network[-1] in other for other in others)

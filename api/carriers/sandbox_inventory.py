"""The sandbox carrier's numbers: only those that regulators keep for fiction, so that nobody is ever called.

Sources: NANPA's reserved 555 exchange; Ofcom's and ACMA's numbers for use in TV and radio drama.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from api.carriers.base import NumberQuery, NumberType
from api.carriers.national import contains_pattern


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive numbers.

    prefix: country code and the digits that all of them share; digits: how many follow.
    first: the numbers begin here, so that the best known ones are offered first.
    """

    country: str
    country_code: str
    prefix: str
    digits: int
    first: int
    type: NumberType
    region: str | None
    locality: str | None
    monthly_price: str
    currency: str

    def numbers(self) -> Iterator[str]:
        """E.164, every one of them."""
        size = 10**self.digits
        for index in range(size):
            yield f"+{self.country_code}{self.prefix}{(self.first + index) % size:0{self.digits}}"


def _north_american(country: str, region: str, locality: str, area_code: str) -> Block:
    return Block(country, "1", f"{area_code}555", 4, 100, "local", region, locality, "1.15", "USD")


BLOCKS: Final = (
    _north_american("US", "CA", "San Francisco", "415"),
    _north_american("US", "NY", "New York", "212"),
    _north_american("US", "IL", "Chicago", "312"),
    _north_american("US", "TX", "Austin", "512"),
    _north_american("US", "WA", "Seattle", "206"),
    _north_american("US", "MA", "Boston", "617"),
    _north_american("US", "FL", "Miami", "305"),
    _north_american("US", "GA", "Atlanta", "404"),
    Block("US", "1", "800555", 4, 100, "toll_free", None, None, "2.15", "USD"),
    _north_american("CA", "ON", "Toronto", "416"),
    _north_american("CA", "BC", "Vancouver", "604"),
    _north_american("CA", "QC", "Montréal", "514"),
    Block("GB", "44", "2079460", 3, 0, "local", "England", "London", "1.00", "GBP"),
    Block("GB", "44", "1134960", 3, 0, "local", "England", "Leeds", "1.00", "GBP"),
    Block("GB", "44", "1314960", 3, 0, "local", "Scotland", "Edinburgh", "1.00", "GBP"),
    Block("GB", "44", "7700900", 3, 0, "mobile", None, None, "1.50", "GBP"),
    Block("AU", "61", "25550", 4, 0, "local", "NSW", "Sydney", "3.00", "AUD"),
    Block("AU", "61", "491570", 3, 0, "mobile", None, None, "6.50", "AUD"),
)

COUNTRIES: Final = tuple(sorted({block.country for block in BLOCKS}))


def block_of(phone_number: str) -> Block | None:
    """The block that a number belongs to; None if it is not the sandbox's."""
    for block in BLOCKS:
        head = f"+{block.country_code}{block.prefix}"
        if phone_number.startswith(head) and len(phone_number) == len(head) + block.digits:
            return block
    return None


def matching(query: NumberQuery) -> Iterator[tuple[str, Block]]:
    """Numbers as asked for, sold or not, in order."""
    contains = contains_pattern(query.contains)
    for block in BLOCKS:
        if block.country != query.country or query.type not in (None, block.type):
            continue
        if query.area_code is not None and not block.prefix.startswith(query.area_code):
            continue
        for number in block.numbers():
            if contains.search(number, len(block.country_code) + 1):
                yield number, block

"""What the API asks of a carrier, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

NumberType: TypeAlias = Literal["local", "toll_free", "mobile"]

MAX_REFERENCE: Final = 64
"""Characters of a reference."""


@dataclass(frozen=True, slots=True)
class NumberQuery:
    """Which numbers to look for.

    country: ISO 3166, two capital letters; area_code: digits that the national number begins with.
    contains: digits, letters that stand on their keys, `*` for any one digit; anywhere in the national
    number.
    type: None for any; limit: numbers at most.
    """

    country: str
    area_code: str | None = None
    contains: str | None = None
    type: NumberType | None = None
    limit: int = 10


@dataclass(frozen=True, slots=True)
class AvailableNumber:
    """A number that can be bought.

    phone_number: E.164; region, locality: where it is, if anywhere; monthly_price: decimal, as a text.
    """

    phone_number: str
    country: str
    region: str | None
    locality: str | None
    type: NumberType
    capabilities: Sequence[str]
    monthly_price: str
    currency: str


class CarrierError(Exception):
    """The carrier refused or failed; the message is its own, for people.

    retryable: whether nobody knows what became of the request, and asking again may help.
    """

    retryable = False


class NumberUnavailable(CarrierError):  # noqa: N818 - it names what is wrong outside of us
    """Somebody else has the number, or it is not the carrier's."""


class CarrierUnavailable(CarrierError):  # noqa: N818 - it names what is wrong outside of us
    """The carrier cannot be reached, or fails for now.

    retry_after: seconds that it asks to wait, if it asks.
    """

    retryable = True

    def __init__(self, detail: str, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class CredentialsRefused(CarrierError):  # noqa: N818 - it names what is wrong outside of us
    """The account's key or token is not taken."""


class AccountSuspended(CarrierError):  # noqa: N818 - it names what is wrong outside of us
    """The account may do nothing."""


class QueryRefused(CarrierError):  # noqa: N818 - it names what is wrong outside of us
    """The carrier has no numbers of that sort; field: which part of the query; fix: what to do."""

    def __init__(self, field: str, detail: str, fix: str) -> None:
        super().__init__(detail)
        self.field = field
        self.fix = fix


class Carrier(Protocol):
    """Sells numbers. Every method raises CarrierError, and may be cancelled at any time.

    reference: names a purchase, so that the same one asked for twice happens once.
    """

    name: str

    async def search(self, query: NumberQuery) -> Sequence[AvailableNumber]:
        """Numbers that can be bought. Raises QueryRefused besides."""

    async def purchase(self, phone_number: str, reference: str) -> None:
        """Buy a number; again under the same reference does nothing. Raises NumberUnavailable besides."""

    async def release(self, phone_number: str, reference: str) -> None:
        """Give a number back; one that is not ours any more does no harm."""

    async def purchased(self, reference: str) -> str | None:
        """The number that was bought under a reference; None if none was."""

"""What the API asks of a carrier, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

NumberType: TypeAlias = Literal["local", "toll_free", "mobile"]

Capability: TypeAlias = Literal["voice", "sms", "mms", "fax"]

MAX_REFERENCE: Final = 64
"""Characters of a reference."""


@dataclass(frozen=True, slots=True)
class NumberQuery:
    """Which numbers to look for.

    country: ISO 3166, two capital letters; area_code: digits that the national number begins with.
    contains: digits, letters that stand on their keys, `*` for any one digit; anywhere in the national
    number.
    type: None for any; limit: numbers at most.
    capabilities: that each has, beside voice.
    """

    country: str
    area_code: str | None = None
    contains: str | None = None
    type: NumberType | None = None
    limit: int = 10
    capabilities: tuple[Capability, ...] = ()


@dataclass(frozen=True, slots=True)
class AvailableNumber:
    """A number that can be bought.

    phone_number: E.164; region, locality: where it is, if anywhere.
    type: None if the carrier does not say.
    monthly_price, upfront_price: decimal, as a text; None, as the currency, where the carrier names none.
    """

    phone_number: str
    country: str
    region: str | None
    locality: str | None
    type: NumberType | None
    capabilities: Sequence[str]
    monthly_price: str | None = None
    currency: str | None = None
    upfront_price: str | None = None


PurchaseState: TypeAlias = Literal["bought", "pending", "failed", "never", "unseen"]


@dataclass(frozen=True, slots=True)
class Purchase:
    """What became of a purchase, as far as the carrier tells.

    state:
        `bought`   the number is the account's, under our reference.
        `pending`  the carrier works on it, or waits for somebody.
        `failed`   the carrier tried, and it came to nothing.
        `never`    nothing of that reference is there, and the number is still on offer.
        `unseen`   nothing of that reference is there, nor is the number on offer: it may be about to appear.
    identity: the carrier's id of the number, once it is bought; detail: what is waited for, for people.
    """

    state: PurchaseState
    identity: str | None = None
    detail: str = ""


class CarrierError(Exception):
    """The carrier refused or failed; the message is its own, for people.

    temporary: whether the same may go well later, without anybody doing anything.
    unknown: whether nobody can say if the carrier did what it was asked.
    """

    temporary = False
    unknown = False


class NumberUnavailable(CarrierError):  # noqa: N818 - it names what is wrong outside of us
    """Somebody else has the number, or it is not the carrier's."""


class CarrierUnavailable(CarrierError):  # noqa: N818 - it names what is wrong outside of us
    """The carrier cannot be reached, or fails for now.

    retry_after: seconds that it asks to wait, if it asks.
    """

    temporary = True
    unknown = True

    def __init__(self, detail: str, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class NotConnected(CarrierUnavailable):
    """No connection came about, so that the carrier never heard the request."""

    unknown = False


class Throttled(CarrierUnavailable):
    """The carrier turned the request away unheard, because of too many (429)."""

    unknown = False


class NotFound(CarrierError):  # noqa: N818 - it names what is wrong outside of us
    """The carrier has nothing of that id."""


class CredentialsRefused(CarrierError):  # noqa: N818 - it names what is wrong outside of us
    """The account's key or token is not taken."""


class AccountSuspended(CarrierError):  # noqa: N818 - it names what is wrong outside of us
    """The account may do nothing, or may not do this."""


class InsufficientFunds(CarrierError):  # noqa: N818 - it names what is wrong outside of us
    """The account's balance does not pay for it."""


class DocumentsNeeded(CarrierError):  # noqa: N818 - it names what is wrong outside of us
    """A regulation wants an address or documents (a bundle) before the number may be had."""


class QueryRefused(CarrierError):  # noqa: N818 - it names what is wrong outside of us
    """The carrier has no numbers of that sort; field: which part of the query; fix: what to do."""

    def __init__(self, field: str, detail: str, fix: str) -> None:
        super().__init__(detail)
        self.field = field
        self.fix = fix


class Carrier(Protocol):
    """Sells the numbers of one account. Every method raises CarrierError, and may be cancelled at any time.

    reference: names a purchase; the carrier keeps it beside the number.
    """

    name: str

    async def search(self, query: NumberQuery) -> Sequence[AvailableNumber]:
        """Numbers that can be bought. Raises QueryRefused besides."""

    async def purchase(self, phone_number: str, reference: str) -> Purchase:
        """Buy a number: it is `bought` or `pending` then.

        The carrier is asked once. After an error that is `unknown` only `purchased` tells what happened.
        Raises NumberUnavailable besides.
        """

    async def purchased(self, phone_number: str, reference: str) -> Purchase:
        """What became of a purchase."""

    async def release(self, identity: str) -> None:
        """Give a bought number back; one that is not there any more does no harm."""

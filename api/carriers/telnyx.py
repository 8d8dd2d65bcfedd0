"""Telnyx's numbers: searched, ordered, looked up and released through Telnyx's own SDK.

A purchase is an order, known by its customer_reference. Orders are asynchronous: they are `pending` until
they succeed or fail, some for seconds, some until documents are there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from telnyx import AsyncTelnyx
from telnyx.types.available_phone_number_list_params import Filter

from api.carriers.base import (
    AvailableNumber,
    NotFound,
    NumberQuery,
    NumberType,
    NumberUnavailable,
    Purchase,
)
from api.carriers.national import NANP, contains_pattern, country_of, national_number, on_keys
from api.carriers.telnyx_sdk import all_of
from api.carriers.wiring import Ask

FETCHED: Final = 100
"""Numbers asked for where Telnyx cannot be told all that is wanted, and some of them will not do."""

PAGE: Final = 100

COMING: Final = frozenset(
    {
        "purchase-pending",
        "provision-pending",
        "requirement-info-pending",
        "requirement-info-under-review",
        "requirement-info-exception",
    }
)
"""States of a number that is ours and takes no calls yet."""

DOCUMENTS: Final = (
    "waits for documents that a regulation asks for: see the portal under Numbers, Number orders"
)


class TelnyxCarrier:
    """See `api.carriers.base.Carrier`.

    Args:
        client: the SDK's, which must not retry by itself.
        ask: awaits it, within a time, and maps its errors.

    """

    name = "telnyx"

    def __init__(self, client: AsyncTelnyx, ask: Ask[Any]) -> None:
        self._client = client
        self._ask = ask

    async def search(self, query: NumberQuery) -> Sequence[AvailableNumber]:
        """See the protocol."""
        wanted: Filter = {
            "country_code": query.country,
            "features": list(dict.fromkeys(("voice", *query.capabilities))),
            "limit": query.limit if query.contains is None else FETCHED,
            "exclude_held_numbers": True,
        }
        if query.country in NANP:
            wanted["best_effort"] = False  # or others come along than were asked for
        if query.area_code is not None:
            wanted["national_destination_code"] = query.area_code
        elif query.contains is not None:  # beside an area code Telnyx would look behind that one only
            wanted["phone_number"] = {"contains": _longest_digits(query.contains)}
        if query.type is not None:
            wanted["phone_number_type"] = query.type
        listed = (await self._ask(self._client.available_phone_numbers.list(filter=wanted))).data or []
        pattern = contains_pattern(query.contains)
        found = [
            _available(each, query.country, query.type)
            for each in listed
            if pattern.search(national_number(each.phone_number or ""))
        ]
        return found[: query.limit]

    async def purchase(self, phone_number: str, reference: str) -> Purchase:
        """See the protocol. A number can be ordered only if a search has found it, so one is made."""
        if not await self._is_on_offer(phone_number):
            raise NumberUnavailable(f"{phone_number} is not on offer")
        ordered = await self._ask(
            self._client.number_orders.create(
                phone_numbers=[{"phone_number": phone_number}], customer_reference=reference
            )
        )
        order = ordered.data
        if order is not None and order.status == "failure":
            raise NumberUnavailable(f"the order of {phone_number} failed")
        if order is not None and order.requirements_met is False:
            return Purchase("pending", detail=DOCUMENTS)
        return Purchase("pending", detail="the order is under way")

    async def purchased(self, phone_number: str, reference: str) -> Purchase:
        """See the protocol."""
        orders = [
            each
            for each in await self._ask(
                all_of(
                    self._client.number_orders.list(filter={"customer_reference": reference}, page_size=PAGE)
                )
            )
            if any(number.phone_number == phone_number for number in each.phone_numbers or ())
        ]
        states = {each.status for each in orders}
        if "success" in states:
            return await self._number(phone_number)
        if "pending" in states:
            waits = any(each.requirements_met is False for each in orders if each.status == "pending")
            return Purchase("pending", detail=DOCUMENTS if waits else "the order is under way")
        if "failure" in states:
            return Purchase("failed", detail=f"the order of {phone_number} failed")
        return Purchase("never" if await self._is_on_offer(phone_number) else "unseen")

    async def release(self, identity: str) -> None:
        """See the protocol."""
        try:
            await self._ask(self._client.phone_numbers.delete(identity))
        except NotFound:
            return

    async def _number(self, phone_number: str) -> Purchase:
        """The number of an order that succeeded."""
        listed = await self._ask(
            all_of(self._client.phone_numbers.list(filter={"phone_number": phone_number}, page_size=PAGE))
        )
        number = next((each for each in listed if each.phone_number == phone_number), None)
        if number is None:
            return Purchase("pending", detail="the order succeeded, and the number is not listed yet")
        if number.status == "purchase-failed":
            return Purchase("failed", detail=f"{phone_number} is {number.status}")
        if number.status in COMING:
            detail = DOCUMENTS if number.status.startswith("requirement") else f"it is {number.status}"
            return Purchase("pending", detail=detail)
        return Purchase("bought", str(number.id))

    async def _is_on_offer(self, phone_number: str) -> bool:
        country = country_of(phone_number)
        if country is None:
            return False
        query = NumberQuery(country, contains=national_number(phone_number), limit=FETCHED)
        return any(each.phone_number == phone_number for each in await self.search(query))


def _longest_digits(contains: str) -> str:
    """Of a pattern, the part that Telnyx can look for; the rest is looked at here."""
    return max(re.split(r"\*", on_keys(contains)), key=len)


def _available(each: Any, country: str, kind: NumberType | None) -> AvailableNumber:
    regions = {
        region.region_type: region.region_name
        for region in each.region_information or ()
        if region.region_name
    }
    cost = each.cost_information
    features = {feature.name for feature in each.features or ()}
    return AvailableNumber(
        phone_number=each.phone_number,
        country=regions.get("country_code") or country,
        region=regions.get("state"),
        locality=regions.get("rate_center") or regions.get("location"),
        type=kind,
        capabilities=tuple(name for name in ("voice", "sms", "mms", "fax") if name in features),
        monthly_price=cost.monthly_cost if cost else None,
        currency=cost.currency if cost else None,
        upfront_price=cost.upfront_cost if cost else None,
    )

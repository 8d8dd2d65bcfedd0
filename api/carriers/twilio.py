"""Twilio's numbers: searched, bought, looked up and released through Twilio's own SDK.

A purchase is known by the number's FriendlyName, which is our reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from twilio.rest import Client

from api.carriers.base import (
    AvailableNumber,
    NotFound,
    NumberQuery,
    NumberType,
    Purchase,
    QueryRefused,
)
from api.carriers.national import NANP, contains_pattern, country_of, national_number
from api.carriers.wiring import Ask

FETCHED: Final = 200
"""Numbers asked for where Twilio cannot be told all that is wanted, and some of them will not do."""

LEAST_CONTAINS: Final = 2
"""Characters that Twilio wants of a pattern."""

TOLL_FREE: Final = frozenset({"800", "833", "844", "855", "866", "877", "888"})
"""Area codes without an area."""

AREA_CODE_DIGITS: Final = 3

_FLAGS: Final = {"sms": "sms_enabled", "mms": "mms_enabled", "fax": "fax_enabled"}


class TwilioCarrier:
    """See `api.carriers.base.Carrier`.

    Args:
        client: the SDK's, asynchronous, for the account.
        ask: awaits it, within a time, and maps its errors.

    """

    name = "twilio"

    def __init__(self, client: Client, ask: Ask[Any]) -> None:
        self._client = client
        self._ask = ask

    async def search(self, query: NumberQuery) -> Sequence[AvailableNumber]:
        """See the protocol. Twilio tells no prices here."""
        if query.contains is not None and len(query.contains) < LEAST_CONTAINS:
            fix = f"write {LEAST_CONTAINS} characters or more, as in {query.contains}*"
            raise QueryRefused("contains", f"Twilio searches for {LEAST_CONTAINS} characters or more", fix)
        found: list[AvailableNumber] = []
        known = False
        for kind in _kinds(query):
            if len(found) >= query.limit:
                break
            try:
                found += await self._search(query, kind, query.limit - len(found))
            except NotFound:  # no numbers of this sort in the country, or no such country
                continue
            known = True
        if not known:
            sort = f"{query.type.replace('_', '-')} numbers" if query.type else "numbers"
            detail = f"Twilio has no {sort} in {query.country}"
            raise QueryRefused("country", detail, "ask for another country, or another type")
        return found

    async def purchase(self, phone_number: str, reference: str) -> Purchase:
        """See the protocol."""
        made = await self._ask(
            self._client.incoming_phone_numbers.create_async(
                phone_number=phone_number, friendly_name=reference
            )
        )
        return Purchase("bought", str(made.sid))

    async def purchased(self, phone_number: str, reference: str) -> Purchase:
        """See the protocol."""
        numbers = self._client.incoming_phone_numbers
        listed = await self._ask(numbers.list_async(friendly_name=reference, limit=FETCHED))
        mine = (each for each in listed if each.phone_number == phone_number)
        if (number := next(mine, None)) is not None:
            return Purchase("bought", str(number.sid))
        return Purchase("never" if await self._is_on_offer(phone_number) else "unseen")

    async def release(self, identity: str) -> None:
        """See the protocol."""
        try:
            await self._ask(self._client.incoming_phone_numbers(identity).delete_async())
        except NotFound:
            return

    async def _search(self, query: NumberQuery, kind: NumberType, limit: int) -> list[AvailableNumber]:
        available = self._client.available_phone_numbers(query.country)
        sort = {"local": available.local, "mobile": available.mobile, "toll_free": available.toll_free}[kind]
        options: dict[str, Any] = {"voice_enabled": True}
        options |= {_FLAGS[each]: True for each in query.capabilities if each in _FLAGS}
        by_area = query.country in NANP and len(query.area_code or "") == AREA_CODE_DIGITS
        contains = query.contains
        if by_area:
            options["area_code"] = int(query.area_code or 0)
        elif query.area_code is not None and contains is None and len(query.area_code) >= LEAST_CONTAINS:
            contains = query.area_code  # Twilio knows area codes in North America only
        if contains is not None:
            options["contains"] = contains
        exact = query.contains is None and (query.area_code is None or by_area)
        listed = await self._ask(sort.list_async(limit=limit if exact else FETCHED, **options))
        pattern = contains_pattern(query.contains)
        found = []
        for each in listed:
            national = national_number(each.phone_number or "")
            if national.startswith(query.area_code or "") and pattern.search(national):
                found.append(_available(each, query.country, kind))
        return found[:limit]

    async def _is_on_offer(self, phone_number: str) -> bool:
        country = country_of(phone_number)
        if country is None:
            return False
        query = NumberQuery(country, contains=national_number(phone_number), limit=FETCHED)
        try:
            found = await self.search(query)
        except QueryRefused:
            return False
        return any(each.phone_number == phone_number for each in found)


def _kinds(query: NumberQuery) -> Sequence[NumberType]:
    """Sorts of numbers to look through, in order: Twilio is asked for each on its own."""
    if query.type is not None:
        return (query.type,)
    if query.country in NANP and query.area_code is not None:
        return ("toll_free",) if query.area_code in TOLL_FREE else ("local",)
    return ("local", "mobile", "toll_free")


def _available(each: Any, country: str, kind: NumberType) -> AvailableNumber:
    given = each.capabilities or {}
    can = {name.lower() for name, value in given.items() if value} if isinstance(given, dict) else set()
    return AvailableNumber(
        phone_number=each.phone_number,
        country=each.iso_country or country,
        region=each.region or None,
        locality=each.locality or None,
        type=kind,
        capabilities=tuple(name for name in ("voice", "sms", "mms", "fax") if name in can),
    )

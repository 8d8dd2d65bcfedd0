"""Buying and releasing numbers at a carrier, so that none is paid for twice, and none is lost.

What a carrier is about to be asked is committed first, under a reference that the carrier remembers: after a
crash or an outage the carrier is asked what became of it, and the purchase is finished or undone.

    buying       the number is reserved here; the carrier may or may not have sold it
    releasing    no calls any more; the carrier may or may not have taken it back
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import structlog
from sqlalchemy import Select, select

from api.carriers.base import (
    AvailableNumber,
    Carrier,
    CarrierError,
    NumberQuery,
    NumberType,
    NumberUnavailable,
    QueryRefused,
)
from api.carriers.events import CarrierEvent
from api.identifiers import timestamp
from api.number_records import NumberRecords
from api.operations import Operation, Reply, Request
from api.phone_numbers import EXAMPLE_ROUTING, TAG, check, etag_of, find, refuse_if_held
from api.problems import FieldError, Problem, invalid
from api.store.database import Database, StoreUnavailable, Transaction
from api.store.tables import NumberRow
from api.types import (
    MAX_SEARCH,
    AvailableNumbers,
    AvailableNumberShown,
    PhoneNumberCreate,
    PhoneNumberPurchase,
    PhoneNumberShown,
    Provider,
    SearchQuery,
)

log = structlog.get_logger("api")

CARRIER_SECONDS: Final = 20.0
"""For a carrier to answer."""

GRACE_SECONDS: Final = 60.0
"""After which a purchase is taken for abandoned: longer than the carrier is waited for."""

CANDIDATES: Final = 5
"""Numbers tried, when those found are gone before they can be bought."""

RETRY_SECONDS: Final = 5.0
MAX_RETRY_SECONDS: Final = 300.0
RECOVERED_AT_ONCE: Final = 100


class Purchases:
    """Numbers that come from a carrier and go back to it.

    Args:
        database: the store.
        records: its numbers.
        carriers: by name.
        seller: the carrier that numbers are bought from.

    """

    def __init__(
        self, database: Database, records: NumberRecords, carriers: Mapping[str, Carrier], seller: str
    ) -> None:
        self._database = database
        self._records = records
        self._carriers = carriers
        self._seller = carriers[seller]
        self._hastened = asyncio.Event()

    def operations(self) -> list[Operation]:
        """What can be asked."""
        return [
            Operation(
                id="searchPhoneNumbers",
                method="GET",
                path="/v1/phone-numbers/search",
                summary="Search numbers that can be bought",
                tag=TAG,
                scope="read",
                act=self.search,
                query=SearchQuery,
                response=AvailableNumbers,
                problems=("carrier-failed",),
            ),
            Operation(
                id="purchasePhoneNumber",
                method="POST",
                path="/v1/phone-numbers/purchase",
                summary="Buy a number, a specific one or the first that matches, and route it",
                tag=TAG,
                scope="write",
                status=201,
                act=self.purchase,
                request=PhoneNumberPurchase,
                response=PhoneNumberShown,
                problems=("number-exists", "number-unavailable", "in-progress", "carrier-failed"),
                etag=True,
                example={
                    "country": "US",
                    "area_code": "415",
                    "friendly_name": "Sales Line",
                    "agent_id": "agt_sales",
                    "inbound_routing": EXAMPLE_ROUTING,
                },
            ),
            Operation(
                id="deletePhoneNumber",
                method="DELETE",
                path="/v1/phone-numbers/{phone_id}",
                summary="Forget a number; one that was bought here is released at the carrier",
                tag=TAG,
                scope="write",
                status=204,
                act=self.delete,
                accepted=PhoneNumberShown,
                problems=("not-found", "in-progress", "precondition-failed", "carrier-failed"),
            ),
        ]

    async def search(self, request: Request) -> Reply:
        """Search."""
        query: SearchQuery = request.query
        found = await self._search(query.country, query.area_code, query.contains, query.type, query.limit)
        return Reply(AvailableNumbers(items=[_shown(number) for number in found]))

    async def purchase(self, request: Request) -> Reply:
        """Buy."""
        body: PhoneNumberPurchase = request.body
        if body.phone_number is not None and (body.country or body.area_code or body.contains):
            fix = "send a number, or what it should be like, not both"
            raise invalid(FieldError("phone_number", "conflict", "stands beside filters", fix))
        reference = request.reference or secrets.token_hex(16)
        begun = await self._database.read(
            lambda session: session.scalar(select(NumberRow).where(NumberRow.reference == reference))
        )
        if begun is not None:
            if begun.provisioning is not None:
                detail = f"{begun.id} is {begun.provisioning} at {begun.provider}"
                raise Problem("in-progress", detail, headers={"Retry-After": "2"})
            return self._bought(begun)
        candidates = [body.phone_number] if body.phone_number else await self._matching(body)
        for phone_number in candidates:
            try:
                row = await self._buy(phone_number, body, reference)
            except Problem as problem:
                if body.phone_number or problem.kind != "number-exists":
                    raise
                continue  # another request was faster
            if row is not None:
                return self._bought(row)
        raise Problem("number-unavailable", "no number like that can be bought: search again")

    async def delete(self, request: Request) -> Reply:
        """Forget, and release what was bought."""
        phone_id = request.path["phone_id"]

        def begin(tx: Transaction) -> NumberRow | None:
            row = find(tx.session, phone_id)
            request.check_unchanged(etag_of(row))
            if row.reference is None:
                self._records.remove(tx, row)
                return None
            if row.provisioning == "buying":
                detail = f"{row.id} is being bought"
                raise Problem("in-progress", detail, headers={"Retry-After": "2"})
            if row.provisioning is None:
                self._records.set_provisioning(tx, row, "releasing")
            return row

        row = await self._database.write(begin)
        if row is None or await self._release(row):
            return Reply(None)
        return Reply(self._records.shown(row), etag_of(row), status=202)

    async def run(self) -> None:
        """Finish or undo what was left half-way, until cancelled."""
        wait = RETRY_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._hastened.wait()
            self._hastened.clear()
            try:
                left = await self.recover()
            except StoreUnavailable:
                left = 1
            wait = min(MAX_RETRY_SECONDS, wait * 2) if left else RETRY_SECONDS

    async def hasten(self, event: CarrierEvent) -> None:
        """An order came through, says its carrier: look after what is half-way now, not at the next turn."""
        log.info("order came through", order=event.order, status=event.status)
        self._hastened.set()

    async def recover(self, grace: float = GRACE_SECONDS) -> int:
        """Look after each number that has been half-way for so many seconds; returns how many still are."""
        before = timestamp(datetime.now(UTC) - timedelta(seconds=grace))
        rows = await self._database.read(lambda session: list(session.scalars(half_way(before))))
        settled = [
            await (self._settle(row) if row.provisioning == "buying" else self._release(row)) for row in rows
        ]
        return settled.count(False)

    async def _search(
        self, country: str, area_code: str | None, contains: str | None, kind: NumberType | None, limit: int
    ) -> Sequence[AvailableNumber]:
        query = NumberQuery(country=country, area_code=area_code, contains=contains, type=kind, limit=limit)
        try:
            async with asyncio.timeout(CARRIER_SECONDS):
                return await self._seller.search(query)
        except QueryRefused as error:
            raise invalid(FieldError(error.field, "carrier", str(error), error.fix)) from None
        except (CarrierError, TimeoutError) as error:
            raise _failed(self._seller.name, error) from None

    async def _matching(self, body: PhoneNumberPurchase) -> list[str]:
        """Numbers to try: they match, and are not here already, as customers may have brought them along."""
        country = body.country or "US"
        found = await self._search(country, body.area_code, body.contains, None, MAX_SEARCH)
        offered = [number.phone_number for number in found]
        query = select(NumberRow.phone_number).where(NumberRow.phone_number.in_(offered))
        held = await self._database.read(lambda session: set(session.scalars(query)))
        return [number for number in offered if number not in held][:CANDIDATES]

    async def _buy(self, phone_number: str, body: PhoneNumberPurchase, reference: str) -> NumberRow | None:
        """Buy one number; None if it is gone."""
        number = PhoneNumberCreate(
            phone_number=phone_number,
            provider=cast("Provider", self._seller.name),
            friendly_name=body.friendly_name,
            agent_id=body.agent_id,
            inbound_routing=body.inbound_routing,
        )

        def reserve(tx: Transaction) -> NumberRow:
            refuse_if_held(tx.session, phone_number)
            check(tx.session, number)
            return self._records.add(tx, [number], provisioning="buying", reference=reference)[0]

        row = await self._database.write(reserve)
        try:
            async with asyncio.timeout(CARRIER_SECONDS):
                await self._seller.purchase(phone_number, reference)
        except NumberUnavailable:
            await self._database.write(lambda tx: self._undo(tx, row.id))
            return None
        except (CarrierError, TimeoutError) as error:
            if isinstance(error, CarrierError) and not error.retryable:
                await self._database.write(lambda tx: self._undo(tx, row.id))
            # Otherwise it may have been sold all the same: `recover` finds out.
            raise _failed(self._seller.name, error) from None
        return await self._database.write(lambda tx: self._activate(tx, row.id))

    async def _settle(self, row: NumberRow) -> bool:
        """Find out what became of a purchase."""
        carrier = self._carriers.get(row.provider)
        if carrier is None or row.reference is None:
            return False
        try:
            async with asyncio.timeout(CARRIER_SECONDS):
                bought = await carrier.purchased(row.reference)
        except (CarrierError, TimeoutError) as error:
            log.warning("purchase not settled", phone_id=row.id, carrier=carrier.name, detail=str(error))
            return False
        finish: Callable[[Transaction, str], object] = self._activate if bought else self._undo
        await self._database.write(lambda tx: finish(tx, row.id))
        log.info("purchase settled", phone_id=row.id, carrier=carrier.name, bought=bool(bought))
        return True

    async def _release(self, row: NumberRow) -> bool:
        """Give a number back, and forget it."""
        carrier = self._carriers.get(row.provider)
        if carrier is None or row.reference is None:
            return False
        try:
            async with asyncio.timeout(CARRIER_SECONDS):
                await carrier.release(row.phone_number, row.reference)
        except (CarrierError, TimeoutError) as error:
            log.warning("number not released yet", phone_id=row.id, carrier=carrier.name, detail=str(error))
            return False
        await self._database.write(lambda tx: self._undo(tx, row.id))
        return True

    def _activate(self, tx: Transaction, phone_id: str) -> NumberRow:
        row = find(tx.session, phone_id)
        self._records.set_provisioning(tx, row, None)
        return row

    def _undo(self, tx: Transaction, phone_id: str) -> None:
        row = tx.session.scalar(select(NumberRow).where(NumberRow.id == phone_id))
        if row is not None:
            self._records.remove(tx, row)

    def _bought(self, row: NumberRow) -> Reply:
        return Reply(
            self._records.shown(row), etag_of(row), {"Location": f"/v1/phone-numbers/{row.id}"}, status=201
        )


def _failed(carrier: str, error: Exception) -> Problem:
    if isinstance(error, TimeoutError) or (isinstance(error, CarrierError) and error.retryable):
        detail = f"{carrier} does not answer; nothing is lost: ask again with the same Idempotency-Key"
        return Problem("unavailable", detail, headers={"Retry-After": "5"})
    return Problem("carrier-failed", f"{carrier}: {error}")


def _shown(number: AvailableNumber) -> AvailableNumberShown:
    return AvailableNumberShown(
        phone_number=number.phone_number,
        country=number.country,
        region=number.region,
        locality=number.locality,
        type=number.type,
        capabilities=list(number.capabilities),
        monthly_price=number.monthly_price,
        currency=number.currency,
    )


def half_way(before: str) -> Select[NumberRow]:
    """Numbers at a carrier whose last step was made at a time or before."""
    return (
        select(NumberRow)
        .where(NumberRow.provisioning.is_not(None), NumberRow.updated_at <= before)
        .order_by(NumberRow.seq)
        .limit(RECOVERED_AT_ONCE)
    )

"""Buying numbers at carriers and releasing them, so that none is paid for twice, and none is lost.

What a carrier is about to be asked is committed first, under a reference that the carrier remembers: after a
crash or an outage it is asked what became of it (`api.provisioning`). A request waits for that some seconds,
and is then told how far it is; the rest goes on by itself.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.carrier_accounts import Accounts, OpenAccount, Seller
from api.carrier_problems import ASKED, BUYING, problem_of
from api.carriers.base import (
    AvailableNumber,
    Capability,
    CarrierError,
    CarrierUnavailable,
    NumberQuery,
    NumberUnavailable,
)
from api.carriers.wiring import Place
from api.number_records import Bought, NumberRecords, provisioning_of
from api.operations import Operation, Reply, Request
from api.phone_numbers import EXAMPLE_ROUTING, TAG, check, etag_of, find, refuse_if_held
from api.problems import FieldError, Problem, invalid
from api.provisioning import LEASE_SECONDS, Provisioner
from api.provisioning_types import BOUGHT, BOUGHT_AND_WIRED, RELEASED, begun, read
from api.provisioning_worker import ProvisioningWorker
from api.store.database import Database, Transaction
from api.store.tables import NumberRow
from api.types import (
    MAX_SEARCH,
    AvailableNumbers,
    AvailableNumberShown,
    PhoneNumberCreate,
    PhoneNumberPurchase,
    PhoneNumberShown,
    Provider,
    Provisioning,
    SearchQuery,
)

SEARCH_SECONDS: Final = 40.0
"""For a carrier to be searched: Twilio is asked for each type on its own."""

WAITED_SECONDS: Final = 20.0
"""That a request waits for what is under way at a carrier, before it is told how far that is."""

LOOK_SECONDS: Final = 0.25
"""Between looks at how far it is."""

CANDIDATES: Final = 5
"""Numbers tried, when those found are gone before they can be bought."""

REFERENCE: Final = "voice-gateway-"
"""What references begin with, for people who see them in a carrier's console."""

DEFAULT_COUNTRY: Final = "US"

NO_NODES: Final = (
    "nobody told where carriers reach this deployment, so that its calls could not come here",
    "set carriers.nodes, as in voice.example.com:5060, or sip.advertised_host",
)


class Purchases:
    """Numbers that come from a carrier and go back to it.

    Args:
        database: the store.
        records: its numbers.
        accounts: what they are bought with.
        provisioner: does what is to be done at carriers.
        worker: goes on with what a request did not wait for.
        place: where carriers send calls.
        clock: seconds since the epoch, for leases.

    """

    def __init__(
        self,
        database: Database,
        records: NumberRecords,
        accounts: Accounts,
        provisioner: Provisioner,
        worker: ProvisioningWorker,
        place: Place,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._records = records
        self._accounts = accounts
        self._provisioner = provisioner
        self._worker = worker
        self._place = place
        self._clock = clock

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
                problems=ASKED,
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
                problems=("number-exists", "in-progress", *BUYING),
                accepted=PhoneNumberShown,
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
                problems=("not-found", "in-progress", "precondition-failed"),
            ),
            Operation(
                id="getProvisioning",
                method="GET",
                path="/v1/phone-numbers/{phone_id}/provisioning",
                summary="Get what was done at the carrier for a number that was bought here, and when",
                tag=TAG,
                scope="read",
                read=self.get_provisioning,
                response=Provisioning,
                problems=("not-found",),
                etag=True,
            ),
        ]

    async def search(self, request: Request) -> Reply:
        """Search."""
        query: SearchQuery = request.query
        seller = await self._database.read(
            lambda session: self._accounts.chosen(session, query.credential_id)
        )
        wanted = NumberQuery(
            query.country,
            query.area_code,
            query.contains,
            query.type,
            query.limit,
            tuple(cast("Sequence[Capability]", query.capabilities.split(","))) if query.capabilities else (),
        )
        try:
            async with self._accounts.opened(seller) as opened:
                found = await _search(opened, wanted)
        except CarrierError as error:
            raise problem_of(seller.carrier, error) from None
        return Reply(AvailableNumbers(items=[_shown(number) for number in found]))

    async def purchase(self, request: Request) -> Reply:
        """Buy."""
        body: PhoneNumberPurchase = request.body
        filters = (body.country, body.area_code, body.contains, body.type, body.capabilities)
        if body.phone_number is not None and any(filters):
            fix = "send a number, or what it should be like, not both"
            raise invalid(FieldError("phone_number", "conflict", "stands beside filters", fix))
        reference = REFERENCE + (request.reference or secrets.token_hex(16))
        before = await self._database.read(lambda session: _of_reference(session, reference))
        if before is not None:
            return self._under_way(before)
        seller = await self._database.read(lambda session: self._accounts.chosen(session, body.credential_id))
        if seller.account_id is not None and not self._place.nodes:
            raise invalid(FieldError("carriers.nodes", "required", *NO_NODES))
        try:
            async with self._accounts.opened(seller) as opened:
                return await self._first_of(body, reference, seller, opened)
        except CarrierError as error:
            again = "nothing was bought; ask again"
            raise problem_of(seller.carrier, error, again) from None

    async def delete(self, request: Request) -> Reply:
        """Forget, and release what was bought."""
        phone_id = request.path["phone_id"]

        def begin(tx: Transaction) -> NumberRow | None:
            row = find(tx.session, phone_id)
            request.check_unchanged(etag_of(row))
            if row.reference is None:
                self._records.remove(tx, row)
                return None
            progress = read(row.progress)
            now = self._clock()
            if progress.leased and (row.due_at or 0.0) > now and row.provisioning is not None:
                detail = f"{row.id} is being worked on at {row.provider}"
                raise Problem("in-progress", detail, headers={"Retry-After": "2"})
            if row.provisioning != "releasing":
                fresh = begun(RELEASED, tx.now, asked_at=progress.asked_at)
                fresh.identity, fresh.trunk_id = progress.identity, progress.trunk_id
                self._records.provision(tx, row, "releasing", fresh, now + LEASE_SECONDS)
            else:
                progress.leased = True
                self._records.provision(tx, row, "releasing", progress, now + LEASE_SECONDS)
            return row

        row = await self._database.write(begin)
        if row is None:
            return Reply(None)
        attempt = await self._provisioner.go_on(row.id)
        self._worker.wake()
        if attempt.row is None:
            return Reply(None)
        return Reply(self._records.shown(attempt.row), etag_of(attempt.row), status=202)

    def get_provisioning(self, session: Session, request: Request) -> Reply:
        """Get what was done at the carrier."""
        row = find(session, request.path["phone_id"])
        if row.reference is None:
            raise Problem("not-found", f"{row.id} was brought along: nothing is done for it at a carrier")
        return Reply(provisioning_of(row, read(row.progress)), etag_of(row))

    async def _first_of(
        self, body: PhoneNumberPurchase, reference: str, seller: Seller, opened: OpenAccount
    ) -> Reply:
        """Buy the number that is named, or the first that can be had. Raises CarrierError, Problem."""
        wiring = opened.account.wiring
        if wiring is not None and (obstacle := wiring.obstacle(self._place)) is not None:
            fix = "correct carriers.nodes; nothing was bought"
            raise invalid(FieldError("carriers.nodes", "carrier", obstacle, fix))
        candidates = [body.phone_number] if body.phone_number else await self._matching(body, opened)
        for phone_number in candidates:
            try:
                return await self._buy(phone_number, body, reference, seller, opened)
            except NumberUnavailable:
                if body.phone_number:
                    raise
            except Problem as problem:
                if body.phone_number or problem.kind != "number-exists":
                    raise  # else another request was faster
        raise NumberUnavailable("no number like that can be bought: search again")

    async def _matching(self, body: PhoneNumberPurchase, opened: OpenAccount) -> list[str]:
        """Numbers to try: they match, and are not here already, as customers may have brought them along."""
        wanted = NumberQuery(
            body.country or DEFAULT_COUNTRY,
            body.area_code,
            body.contains,
            body.type,
            MAX_SEARCH,
            tuple(body.capabilities),
        )
        offered = [number.phone_number for number in await _search(opened, wanted)]
        query = select(NumberRow.phone_number).where(NumberRow.phone_number.in_(offered))
        held = await self._database.read(lambda session: set(session.scalars(query)))
        return [number for number in offered if number not in held][:CANDIDATES]

    async def _buy(
        self,
        phone_number: str,
        body: PhoneNumberPurchase,
        reference: str,
        seller: Seller,
        opened: OpenAccount,
    ) -> Reply:
        """Buy one number. Raises CarrierError if that came to nothing, or Problem."""
        number = PhoneNumberCreate(
            phone_number=phone_number,
            provider=cast("Provider", seller.carrier),
            friendly_name=body.friendly_name,
            agent_id=body.agent_id,
            inbound_routing=body.inbound_routing,
            credential_id=seller.account_id,
        )
        steps = BOUGHT if opened.account.wiring is None else BOUGHT_AND_WIRED

        def reserve(tx: Transaction) -> NumberRow:
            if (twin := _of_reference(tx.session, reference)) is not None:
                raise _being_bought(twin)  # the same request, sent twice at once
            refuse_if_held(tx.session, phone_number)
            check(tx.session, number)
            now = self._clock()
            progress = begun(steps, tx.now, asked_at=now)
            bought = Bought(reference, seller.account_id, progress, now + LEASE_SECONDS)
            return self._records.add(tx, [number], bought=bought)[0]

        row = await self._database.write(reserve)
        attempt = await self._provisioner.buy(row.id, opened)
        self._worker.wake()
        if attempt.row is None:
            raise attempt.error or CarrierError("the number was deleted meanwhile")
        error = attempt.error
        if attempt.row.provisioning is None:
            return self._bought(attempt.row)
        if error is not None and error.unknown and attempt.row.provisioning == "buying":
            again = "nothing is lost: ask again with the same Idempotency-Key"
            raise problem_of(seller.carrier, CarrierUnavailable(str(error)), again)
        if error is not None and not error.temporary:
            return self._bought(attempt.row)  # it is ours, and somebody has to do something about the rest
        return await self._waited_for(attempt.row)

    async def _waited_for(self, row: NumberRow) -> Reply:
        """The end of what is under way, or after a while how far it is. Raises NumberUnavailable."""
        waited = 0.0
        query = select(NumberRow).where(NumberRow.id == row.id)
        present: NumberRow | None = row
        while present is not None and present.provisioning is not None and waited < WAITED_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
            waited += LOOK_SECONDS
            present = await self._database.read(lambda session: session.scalar(query))
        if present is None:
            raise NumberUnavailable(f"{row.provider} could not get {row.phone_number}")
        return self._bought(present)

    def _under_way(self, row: NumberRow) -> Reply:
        """What to answer to a request that was made before. Raises Problem."""
        first = next(iter(read(row.progress).steps), None)
        if row.provisioning == "buying" and not (first is not None and first.status == "pending"):
            raise _being_bought(row)
        return self._bought(row)

    def _bought(self, row: NumberRow) -> Reply:
        """201 if all is done, 202 if not."""
        location = {"Location": f"/v1/phone-numbers/{row.id}"}
        status = 201 if row.provisioning is None else 202
        return Reply(self._records.shown(row), etag_of(row), location, status=status)


async def _search(opened: OpenAccount, query: NumberQuery) -> Sequence[AvailableNumber]:
    """Numbers on offer. Raises CarrierError."""
    try:
        async with asyncio.timeout(SEARCH_SECONDS):
            return await opened.account.carrier.search(query)
    except TimeoutError:
        raise CarrierUnavailable("took too long") from None


def _being_bought(row: NumberRow) -> Problem:
    return Problem("in-progress", f"{row.id} is being bought at {row.provider}", headers={"Retry-After": "2"})


def _of_reference(session: Session, reference: str) -> NumberRow | None:
    return session.scalar(select(NumberRow).where(NumberRow.reference == reference))


def _shown(number: AvailableNumber) -> AvailableNumberShown:
    return AvailableNumberShown(
        phone_number=number.phone_number,
        country=number.country,
        region=number.region,
        locality=number.locality,
        type=number.type,
        capabilities=list(number.capabilities),
        monthly_price=number.monthly_price,
        upfront_price=number.upfront_price,
        currency=number.currency,
    )

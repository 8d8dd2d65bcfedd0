"""One number on its way from its carrier to its calls, and back; left at any point, and gone on with.

    buying       what became of the purchase?    bought → wiring    came to nothing → forgotten
    wiring       trunk → origination → number attached → countries looked at → nothing left to do
    releasing    given back → forgotten

The carrier is asked to sell once, by the request that wants the number; from then on it is only asked what
became of that, by the reference that it keeps. Everything else is looked at first and done only if it is not
there yet, so that doing it again does no harm. Each step is committed before the next one begins.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

import structlog
from sqlalchemy import select

from api.carrier_accounts import AccountBusy, Accounts, OpenAccount, Seller
from api.carriers.base import (
    Carrier,
    CarrierError,
    CarrierUnavailable,
    NumberUnavailable,
    Purchase,
)
from api.carriers.national import country_of
from api.carriers.wiring import Change, Desired, Place, Wiring, ensure
from api.number_records import NumberRecords
from api.provisioning_types import Progress, State, read
from api.store.database import Database, Transaction
from api.store.tables import NumberRow
from api.types import StepName

log = structlog.get_logger("api")

ATTEMPT_SECONDS: Final = 50.0
"""For one attempt to go on with a number: some ten requests to its carrier."""

LEASE_SECONDS: Final = 90.0
"""After which an attempt that nobody has told the end of is made again, by whoever is there."""

PAUSES: Final = (1.0, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds between attempts; the last one for as long as it takes."""

JITTER: Final = 0.2
"""Share by which a pause is longer or shorter, so that what failed together is not tried together."""

GRACE_SECONDS: Final = 120.0
"""Until a purchase that left no trace, its number being on offer still, is taken for one that never was."""

EMPTY_LOOKS: Final = 3
"""That it takes besides: one look may meet a copy that is behind."""

FORGET_SECONDS: Final = 3_600.0
"""Until one whose number is neither ours nor on offer is given up: somebody else has bought it."""

PARTS: Final[dict[str, StepName]] = {
    "create trunk": "trunk",
    "set domain": "trunk",
    "create outbound profile": "trunk",
    "create connection": "trunk",
    "change connection": "trunk",
    "set outbound profile": "trunk",
    "add origination": "origination",
    "change origination": "origination",
    "add destination": "origination",
    "order destinations": "origination",
    "remove origination": "origination",
    "remove destination": "origination",
}
"""Which step a change of a carrier's wiring is part of."""


class NotYet(CarrierError):  # noqa: N818 - it says how things are
    """The carrier is at it, or its lists do not show yet what it did."""

    temporary = True


@dataclass(frozen=True, slots=True)
class Attempt:
    """What an attempt came to.

    row: the number; None if it is forgotten: released, or never bought.
    error: why it stands still, or why it is forgotten; None if all is done.
    """

    row: NumberRow | None
    error: CarrierError | None = None


class Provisioner:
    """Goes on with numbers.

    Args:
        database: the store.
        records: its numbers.
        accounts: what they are bought with.
        place: where carriers send calls.
        clock: seconds since the epoch; dice: 0 to 1.

    """

    def __init__(
        self,
        database: Database,
        records: NumberRecords,
        accounts: Accounts,
        place: Place,
        *,
        clock: Callable[[], float] = time.time,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._records = records
        self._accounts = accounts
        self._place = place
        self._clock = clock
        self._dice = dice

    async def buy(self, phone_id: str, opened: OpenAccount) -> Attempt:
        """Ask the carrier for a number that is reserved here, once, and go on as far as it goes.

        A refusal leaves nothing behind; the attempt's error tells it.
        """
        return await self._attempt(phone_id, opened, ask=True)

    async def go_on(self, phone_id: str) -> Attempt:
        """Go on with a number that is leased to us."""
        return await self._attempt(phone_id, None, ask=False)

    async def _attempt(self, phone_id: str, opened: OpenAccount | None, *, ask: bool) -> Attempt:
        row = await self._row(phone_id)
        if row is None or row.provisioning is None:
            return Attempt(row)
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                if opened is not None:
                    return await self._advance(row, opened, ask=ask)
                async with self._accounts.opened(Seller(row.provider, row.account_id)) as account:
                    return await self._advance(row, account, ask=ask)
        except TimeoutError:
            return await self._stand_still(row, CarrierUnavailable("took too long"))
        except CarrierError as error:
            return await self._stand_still(row, error)

    async def _advance(self, row: NumberRow, opened: OpenAccount, *, ask: bool) -> Attempt:
        carrier = opened.account.carrier
        if row.provisioning == "releasing":
            return await self._release(row, carrier)
        if row.provisioning == "buying":
            try:
                purchase = await (self._ask_for(row, carrier) if ask else self._settle(row, carrier))
            except _Nothing as nothing:
                return await self._forget(row, nothing.reason)
            if purchase.state != "bought":
                raise NotYet(purchase.detail or "the carrier is at it")
            row = await self._write(row, "wiring", lambda progress, now: _bought(progress, purchase, now))
            log.info("number bought", phone_id=row.id, carrier=row.provider, reference=row.reference)
        note = await self._wire(row, opened)
        row = await self._write(row, None, lambda progress, now: progress.finish(now, note))
        log.info("number takes calls", phone_id=row.id, carrier=row.provider)
        return Attempt(row)

    # The purchase.

    async def _ask_for(self, row: NumberRow, carrier: Carrier) -> Purchase:
        """Buy. Raises _Nothing if it is certain that nothing was bought."""
        try:
            return await carrier.purchase(row.phone_number, row.reference or "")
        except CarrierError as error:
            if error.unknown:
                raise
            raise _Nothing(error) from None

    async def _settle(self, row: NumberRow, carrier: Carrier) -> Purchase:
        """Find out what became of a purchase. Raises _Nothing if nothing did, or NotYet."""
        purchase = await carrier.purchased(row.phone_number, row.reference or "")
        progress = read(row.progress)
        elapsed = self._clock() - (progress.asked_at or 0.0)
        if purchase.state == "failed":
            raise _Nothing(NumberUnavailable(purchase.detail or "the carrier could not get it"))
        if purchase.state == "never":
            if elapsed >= GRACE_SECONDS and progress.empty_looks + 1 >= EMPTY_LOOKS:
                raise _Nothing(NumberUnavailable("the purchase never reached the carrier"))
            await self._write(row, cast("State", row.provisioning), _looked_in_vain)
            raise NotYet("the carrier has not sold it, as far as can be seen")
        if purchase.state == "unseen":
            if elapsed >= FORGET_SECONDS:
                log.error(
                    "purchase given up",
                    phone_id=row.id,
                    carrier=row.provider,
                    number=row.phone_number,
                    reference=row.reference,
                    fix="look for the reference in the carrier's console, in case it was sold all the same",
                )
                raise _Nothing(NumberUnavailable("somebody else has it"))
            raise NotYet("neither sold to us nor on offer: it is looked for")
        return purchase

    # The way to its calls.

    async def _wire(self, row: NumberRow, opened: OpenAccount) -> str | None:
        """Lead a number's calls here; returns what people should know. Raises CarrierError."""
        wiring, account_id = opened.account.wiring, row.account_id
        if wiring is None or account_id is None:
            return None  # where nothing is to be wired
        progress = read(row.progress)
        if progress.trunk_id is None:
            row = await self._lead_here(row, wiring, account_id, opened.domain)
            progress = read(row.progress)
        number, trunk = progress.identity or "", progress.trunk_id or ""
        if not progress.is_done("attachment"):
            await self._begin(row, "attachment")
            await wiring.attach(number, trunk)
        await self._begin(row, "permissions")
        country = country_of(row.phone_number)
        shut = await wiring.shut([country], trunk) if country else ()
        return _shut(row.provider, shut) if shut else None

    async def _lead_here(
        self, row: NumberRow, wiring: Wiring, account_id: str, domain: str | None
    ) -> NumberRow:
        """Have a trunk that leads here. Raises CarrierError."""

        async def told(change: Change) -> None:
            await self._begin(row, PARTS[change.kind])

        await self._begin(row, "trunk")
        async with self._accounts.alone(account_id):
            wired = await ensure(wiring, Desired(self._place, domain=domain), told)

        def led(progress: Progress, now: str) -> None:
            progress.trunk_id = wired.identity
            progress.begin("attachment", now)

        return await self._write(row, "wiring", led)

    async def _begin(self, row: NumberRow, step: StepName) -> None:
        await self._write(row, "wiring", lambda progress, now: progress.begin(step, now))

    # The way back.

    async def _release(self, row: NumberRow, carrier: Carrier) -> Attempt:
        identity = read(row.progress).identity
        if identity is None:
            try:
                purchase = await self._settle(row, carrier)
            except _Nothing:
                return await self._forget(row, None)
            if purchase.identity is None:
                raise NotYet(purchase.detail or "the carrier is at its purchase")
            identity = purchase.identity
        await carrier.release(identity)
        log.info("number released", phone_id=row.id, carrier=row.provider)
        return await self._forget(row, None)

    # The store.

    async def _row(self, phone_id: str) -> NumberRow | None:
        query = select(NumberRow).where(NumberRow.id == phone_id)
        return await self._database.read(lambda session: session.scalar(query))

    async def _write(
        self, row: NumberRow, state: State | None, change: Callable[[Progress, str], object]
    ) -> NumberRow:
        """Change what is known of a number, and lease it anew. Raises CarrierError if others went on."""

        def write(tx: Transaction) -> NumberRow:
            present = tx.session.scalar(select(NumberRow).where(NumberRow.id == row.id))
            if present is None or present.provisioning is None:
                raise CarrierError("somebody else went on with it")
            progress = read(present.progress)
            change(progress, tx.now)
            progress.leased = state is not None
            due_at = None if state is None else self._clock() + LEASE_SECONDS
            self._records.provision(tx, present, state, progress, due_at)
            return present

        return await self._database.write(write)

    async def _forget(self, row: NumberRow, reason: CarrierError | None) -> Attempt:
        def remove(tx: Transaction) -> None:
            present = tx.session.scalar(select(NumberRow).where(NumberRow.id == row.id))
            if present is not None:
                self._records.remove(tx, present)

        await self._database.write(remove)
        if reason is not None:
            log.info("purchase came to nothing", phone_id=row.id, carrier=row.provider, detail=str(reason))
        return Attempt(None, reason)

    async def _stand_still(self, row: NumberRow, error: CarrierError) -> Attempt:
        """Note why, and when to go on."""

        def write(tx: Transaction) -> NumberRow | None:
            present = tx.session.scalar(select(NumberRow).where(NumberRow.id == row.id))
            if present is None or present.provisioning is None:
                return present
            progress = read(present.progress)
            pause = PAUSES[min(progress.attempts, len(PAUSES) - 1)] * (1 + JITTER * (2 * self._dice() - 1))
            if isinstance(error, CarrierUnavailable) and error.retry_after is not None:
                pause = max(pause, float(error.retry_after))
            waits = isinstance(error, NotYet) or error.unknown
            progress.stop("pending" if waits else "failed", str(error))
            progress.attempts += 1
            progress.leased = False
            state = cast("State", present.provisioning)
            self._records.provision(tx, present, state, progress, self._clock() + pause)
            return present

        standing = await self._database.write(write)
        if standing is not None and standing.provisioning is not None:
            tell = log.info if isinstance(error, NotYet | AccountBusy) else log.warning
            tell(
                "number stands still at its carrier",
                phone_id=row.id,
                carrier=row.provider,
                state=standing.provisioning,
                attempts=read(standing.progress).attempts,
                detail=str(error),
            )
        return Attempt(standing, error)


class _Nothing(Exception):  # noqa: N818 - it says how things are
    """Nothing was bought, for certain; reason: why."""

    def __init__(self, reason: CarrierError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _bought(progress: Progress, purchase: Purchase, now: str) -> None:
    progress.identity = purchase.identity
    progress.finish(now)


def _looked_in_vain(progress: Progress, now: str) -> None:
    progress.empty_looks += 1


def _shut(carrier: str, countries: Sequence[str]) -> str:
    return (
        f"calls from here to {', '.join(countries)} are not permitted at {carrier} and would get 403; calls "
        "to the number are not affected: see voice-gateway carriers doctor"
    )

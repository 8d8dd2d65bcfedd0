"""Goes on with numbers that are half-way at their carriers, each at its time; no carrier holds up another.

A number is a row. Whoever takes one up moves its time on, first: if the process dies, it is taken up again
then, by any process.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, cast, get_args

import structlog
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from api.carriers.events import CarrierEvent
from api.metrics import ApiMetrics
from api.number_records import NumberRecords
from api.provisioning import LEASE_SECONDS, Provisioner
from api.provisioning_types import State, read
from api.store.database import Database, StoreUnavailable, Transaction
from api.store.tables import NumberRow

log = structlog.get_logger("api")

MAX_PER_ACCOUNT: Final = 2
"""Numbers of one account at once: few enough that no carrier throttles it for them."""

MAX_AT_ONCE: Final = 32
"""Numbers of all accounts at once."""

LOOK_SECONDS: Final = 5.0
"""Between looks for what others left half-way; what this process left is looked after when it is due."""

HALF_WAY: Final = NumberRow.provisioning.is_not(None)

account_column: Final = func.coalesce(NumberRow.account_id, "")
"""Empty for the sandbox."""


class ProvisioningWorker:
    """Takes numbers up.

    Args:
        database: the store.
        records: its numbers.
        provisioner: goes on with one.
        metrics: tell how many there are.
        clock: seconds since the epoch.

    """

    def __init__(
        self,
        database: Database,
        records: NumberRecords,
        provisioner: Provisioner,
        metrics: ApiMetrics,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._records = records
        self._provisioner = provisioner
        self._half_way = {state: metrics.half_way.labels(state) for state in get_args(State)}
        self._clock = clock
        self._wake = asyncio.Event()
        self._under_way: Counter[str] = Counter()

    def wake(self) -> None:
        """There may be something due."""
        self._wake.set()

    async def run(self) -> None:
        """Go on with numbers until cancelled; those under way are taken up again later."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                now, pause = self._clock(), LOOK_SECONDS
                try:
                    for phone_id, account in (await self.take_up(now)).items():
                        self._under_way[account] += 1
                        group.create_task(self._go_on(phone_id, account))
                    pause = await self._next(now)
                except StoreUnavailable as error:
                    log.warning("numbers at carriers not looked after", detail=str(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()

    async def hasten(self, event: CarrierEvent) -> None:
        """An order came through, says its carrier: look after its number now, not at the next turn."""
        log.info("order came through", order=event.order, status=event.status)
        if event.reference is None:
            return

        def hasten(tx: Transaction) -> None:
            query = select(NumberRow).where(NumberRow.reference == event.reference, HALF_WAY)
            row = tx.session.scalar(query)
            if row is not None and not read(row.progress).leased:
                row.due_at = self._clock()

        await self._database.write(hasten)
        self.wake()

    async def take_up(self, now: float) -> Mapping[str, str]:
        """Lease what is due: ids, and the account of each. Raises StoreUnavailable."""
        busy = Counter(self._under_way)
        if not await self._database.read(lambda session: due(session, now, busy)):
            return {}  # most looks find nothing, and cost no write

        def work(tx: Transaction) -> dict[str, str]:
            taken: dict[str, str] = {}
            for account in due(tx.session, now, busy):
                room = min(MAX_PER_ACCOUNT - busy[account], MAX_AT_ONCE - busy.total() - len(taken))
                for row in tx.session.scalars(of_account(account, now).limit(max(0, room))).all():
                    progress = read(row.progress)
                    progress.leased = True
                    state = cast("State", row.provisioning)
                    self._records.provision(tx, row, state, progress, now + LEASE_SECONDS)
                    taken[row.id] = account
            return taken

        return await self._database.write(work)

    async def _go_on(self, phone_id: str, account: str) -> None:
        try:
            await self._provisioner.go_on(phone_id)
        except StoreUnavailable as error:
            log.warning("number at its carrier not noted; it is gone on with", detail=str(error))
        except Exception:
            # A fault of ours with one number must not keep the others from their turn.
            log.exception("number at its carrier not gone on with", phone_id=phone_id)
        finally:
            self._under_way[account] -= 1
            if self._under_way[account] <= 0:
                del self._under_way[account]
            self._wake.set()

    async def _next(self, now: float) -> float:
        """Seconds until something comes due, or until the next look. Counts what there is meanwhile."""
        earliest = select(func.min(NumberRow.due_at)).where(HALF_WAY, NumberRow.due_at > now)
        counts = select(NumberRow.provisioning, func.count()).where(HALF_WAY).group_by(NumberRow.provisioning)

        def look(session: Session) -> tuple[float | None, dict[str | None, int]]:
            return session.scalar(earliest), dict(session.execute(counts).all())

        due_at, found = await self._database.read(look)
        for state, gauge in self._half_way.items():
            gauge.set(found.get(state, 0))
        return LOOK_SECONDS if due_at is None else min(max(due_at - self._clock(), 0.0), LOOK_SECONDS)


def due(session: Session, now: float, busy: Counter[str]) -> list[str]:
    """Accounts that something is due for, without those that are busy."""
    found = session.scalars(select(account_column).where(HALF_WAY, NumberRow.due_at <= now).distinct())
    return [account for account in found if busy[account] < MAX_PER_ACCOUNT]


def of_account(account: str, now: float) -> Select[NumberRow]:
    """Numbers of an account that are due, the longest waiting first."""
    due = select(NumberRow).where(HALF_WAY, NumberRow.due_at <= now, account_column == account)
    return due.order_by(NumberRow.due_at)

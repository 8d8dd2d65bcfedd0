"""A carrier of our own, with numbers that ring nowhere: for the demo, for tests, and for trying things out.

What it has sold is in a file of its own, since a carrier's books are not the API's: they survive a restart,
and a crash between the two is settled as with any other carrier.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from api.carriers.base import (
    AvailableNumber,
    CarrierUnavailable,
    NumberQuery,
    NumberUnavailable,
    Purchase,
    QueryRefused,
)
from api.carriers.sandbox_inventory import COUNTRIES, block_of, matching

Result = TypeVar("Result")

FILE: Final = "sandbox-carrier.sqlite"
"""In the data directory."""

LOCK_SECONDS: Final = 5.0

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS sold (phone_number TEXT PRIMARY KEY, reference TEXT NOT NULL UNIQUE)"
)


class SandboxCarrier:
    """See `api.carriers.base.Carrier`.

    Args:
        path: the file of what it has sold; made when it is needed.

    """

    name = "sandbox"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "sandbox-carrier")

    async def search(self, query: NumberQuery) -> Sequence[AvailableNumber]:
        """See the protocol."""
        if query.country not in COUNTRIES:
            fix = f"ask for {', '.join(COUNTRIES)}"
            raise QueryRefused("country", f"the sandbox has no numbers in {query.country}", fix)
        if set(query.capabilities) - {"voice"}:
            raise QueryRefused("capabilities", "the sandbox's numbers have voice alone", "ask for voice")

        def search(books: sqlite3.Connection) -> list[AvailableNumber]:
            sold = {number for (number,) in books.execute("SELECT phone_number FROM sold")}
            free = (found for found in matching(query) if found[0] not in sold)
            return [
                AvailableNumber(
                    phone_number=number,
                    country=block.country,
                    region=block.region,
                    locality=block.locality,
                    type=block.type,
                    capabilities=("voice",),
                    monthly_price=block.monthly_price,
                    currency=block.currency,
                )
                for number, block in islice(free, query.limit)
            ]

        return await self._with_books(search)

    async def purchase(self, phone_number: str, reference: str) -> Purchase:
        """See the protocol; here the same asked for twice happens once."""
        if block_of(phone_number) is None:
            raise NumberUnavailable(f"{phone_number} is not among the sandbox's numbers")

        def purchase(books: sqlite3.Connection) -> None:
            sold = (phone_number, reference)
            books.execute("INSERT INTO sold VALUES (?, ?) ON CONFLICT DO NOTHING", sold)
            query = "SELECT count(*) FROM sold WHERE phone_number = ? AND reference = ?"
            if books.execute(query, sold).fetchone() != (1,):
                raise NumberUnavailable(f"{phone_number} is sold")

        await self._with_books(purchase)
        return Purchase("bought", reference)

    async def purchased(self, phone_number: str, reference: str) -> Purchase:
        """See the protocol. The books are exact: what is not in them was never sold."""
        query = "SELECT count(*) FROM sold WHERE phone_number = ? AND reference = ?"
        sold = (phone_number, reference)
        found = await self._with_books(lambda books: books.execute(query, sold).fetchone())
        return Purchase("bought", reference) if found == (1,) else Purchase("never")

    async def release(self, identity: str) -> None:
        """See the protocol; the identity of a purchase is its reference."""
        await self._with_books(
            lambda books: books.execute("DELETE FROM sold WHERE reference = ?", (identity,))
        )

    async def close(self) -> None:
        """Let what is under way finish."""
        await asyncio.to_thread(self._thread.shutdown)

    async def _with_books(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        def run() -> Result:
            try:
                with closing(sqlite3.connect(self._path, timeout=LOCK_SECONDS)) as books, books:
                    books.execute(_SCHEMA)
                    return work(books)
            except sqlite3.Error as error:
                raise CarrierUnavailable(
                    f"the sandbox cannot keep its books in {self._path}: {error}"
                ) from None

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

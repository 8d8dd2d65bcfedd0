"""Where the secret keys come from, whether they are the store's, and their replacement.

With a key file, replacing takes no restart: every process looks at the file each second, and each step of
`rotate` waits for that. Keys given by configuration are replaced there first: `new,old`, then `new`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import delete, func, select

from api.agents import Agents
from api.integrations import Integrations
from api.number_records import NumberRecords
from api.secret_box import SecretBox, SecretKeyError, load_keys, new_key, parse_keys, save_keys
from api.store.database import Database, Transaction
from api.store.tables import AgentRow, IdempotencyRow, IntegrationRow, NumberRow, OutboxRow, WebhookRow
from api.webhooks import Webhooks

log = structlog.get_logger("api")

KEY_FILE: Final = "api.key"
"""In the data directory."""

WATCH_SECONDS: Final = 1.0

SETTLE_SECONDS: Final = 3 * WATCH_SECONDS
"""After which every process has seen a changed key file."""

RESEALED_AT_ONCE: Final = 200
"""Records in one transaction: others want to write meanwhile."""

_OWNER: Final = "store"
_CHECK: Final = b"the store's own key"


def obtain_keys(given: str, directory: Path) -> list[bytes]:
    """The keys as configured, or of the key file, which is made if there is none. Blocks.

    Raises:
        SecretKeyError, OSError: they cannot be used.

    """
    if given:
        return parse_keys(given, "api.secret_key")
    return load_keys(directory / KEY_FILE)


def check_keys(tx: Transaction, box: SecretBox) -> None:
    """Make sure that these are the keys of this store. Raises SecretKeyError."""
    if tx.state.key_check is None:
        tx.state.key_check = box.seal(_CHECK, _OWNER)
    else:
        open_check(box, tx.state.key_check)


def open_check(box: SecretBox | None, key_check: bytes | None) -> None:
    """Make sure that what a store's own key sealed opens; without a check, it was never used.

    box: None if there is no key at all. Raises SecretKeyError.
    """
    if key_check is None:
        return
    try:
        if box is None:
            raise SecretKeyError("no key")
        box.open(key_check, _OWNER)
    except SecretKeyError:
        raise SecretKeyError(
            "api.secret_key: the store was sealed with another key: every process with this store needs the"
            f" same one, in api.secret_key or in {KEY_FILE} of its data directory"
        ) from None


class KeyFileWatch:
    """Takes over keys that change while the process runs."""

    def __init__(self, path: Path, box: SecretBox) -> None:
        self._path = path
        self._box = box

    async def run(self) -> None:
        """Look each second, until cancelled."""
        seen = await asyncio.to_thread(self._path.read_bytes)
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                now = await asyncio.to_thread(self._path.read_bytes)
                if now != seen:
                    self._box.use(await asyncio.to_thread(load_keys, self._path))
                    seen = now
            except (OSError, SecretKeyError) as error:
                log.error("secret keys not reloaded", detail=str(error), key="api.secret_key")


class Rotation:
    """Seals everything anew.

    Args:
        database: the store.
        box: seals with the present key, and opens with the old ones.
        numbers, agents, integrations, webhooks: what has secrets.

    """

    def __init__(
        self,
        database: Database,
        box: SecretBox,
        numbers: NumberRecords,
        agents: Agents,
        integrations: Integrations,
        webhooks: Webhooks,
    ) -> None:
        self._database = database
        self._box = box
        self._parts: tuple[tuple[Any, Any, Callable[[Any], bool]], ...] = (
            (AgentRow, AgentRow.seq, agents.reseal),
            (NumberRow, NumberRow.seq, numbers.reseal),
            (IntegrationRow, IntegrationRow.seq, integrations.reseal),
            (WebhookRow, WebhookRow.seq, webhooks.reseal),
            (OutboxRow, OutboxRow.revision, agents.reseal_published),
        )

    async def rotate_file(
        self,
        path: Path,
        on_progress: Callable[[int], None] = lambda count: None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> int:
        """Replace the key of a key file by a fresh one; returns how many records were sealed anew.

        on_progress: told how many were looked at.

        Interrupted at any point, both keys are in the file, and the next rotation finishes.

        Raises:
            SecretKeyError, StoreUnavailable, OSError: the old keys stay.

        """
        old = await asyncio.to_thread(load_keys, path)
        fresh = new_key()
        await asyncio.to_thread(save_keys, path, [old[0], fresh, *old[1:]])
        await sleep(SETTLE_SECONDS)  # now every process can open what the fresh one seals
        ring = [fresh, *old]
        await asyncio.to_thread(save_keys, path, ring)
        self._box.use(ring)
        await sleep(SETTLE_SECONDS)  # now none seals with the old one any more
        count = await self.reseal(on_progress)
        await asyncio.to_thread(save_keys, path, [fresh])
        self._box.use([fresh])
        return count

    async def reseal(self, on_progress: Callable[[int], None] = lambda count: None) -> int:
        """Seal everything with the present key; returns how many records were sealed with another.

        on_progress: told how many were looked at.
        """
        await self._database.write(self._reseal_check)
        await self._database.write(lambda tx: tx.session.execute(delete(IdempotencyRow)))
        count = 0
        seen = 0
        for table, order, reseal in self._parts:
            after = 0
            while True:
                start = after
                rows, after, changed = await self._database.write(
                    lambda tx: _reseal_page(tx, table, order, reseal, start)  # noqa: B023
                )
                if not rows:
                    break
                seen += rows
                count += changed
                on_progress(seen)
        return count

    async def total(self) -> int:
        """How many records there are to look at."""
        return await self._database.read(
            lambda session: sum(
                session.scalar(select(func.count()).select_from(table)) or 0 for table, *_ in self._parts
            )
        )

    def _reseal_check(self, tx: Transaction) -> None:
        check_keys(tx, self._box)
        tx.state.key_check = self._box.seal(_CHECK, _OWNER)


def _reseal_page(
    tx: Transaction, table: Any, order: Any, reseal: Callable[[Any], bool], after: int
) -> tuple[int, int, int]:
    """How many records there were after a place, the place of the last, and how many were changed."""
    rows: Sequence[Any] = tx.session.scalars(
        select(table).where(order > after).order_by(order).limit(RESEALED_AT_ONCE)
    ).all()
    last = getattr(rows[-1], order.key) if rows else after
    return len(rows), last, sum(reseal(row) for row in rows)

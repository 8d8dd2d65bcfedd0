"""A process that changes numbers in a store until it is killed: python -m tests.api.committer URL DIRECTORY SEED

It prints the number of each transaction that was committed, after it was: a line that is there is a promise.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from sqlalchemy import select

from api.number_records import NumberRecords
from api.secret_box import SecretBox
from api.store.database import Transaction, open_database
from api.store.tables import NumberRow
from api.types import PhoneNumberCreate, PhoneNumberUpdate, ProviderConfig

KEY = bytes(32)


def change(tx: Transaction, records: NumberRecords, chance: random.Random, step: int) -> None:
    """Add up to three numbers, change one, remove one."""
    for index in range(chance.randint(1, 3)):
        number = PhoneNumberCreate(
            phone_number=f"+1415{step:05}{index:02}",
            provider="other",
            provider_config=ProviderConfig(auth_password="hunter2"),
        )
        records.add(tx, [number])
    rows = list(tx.session.scalars(select(NumberRow)))
    changed = chance.choice(rows)
    records.change(tx, changed, PhoneNumberUpdate(friendly_name=f"step {step}"))
    removed = chance.choice(rows)
    if removed is not changed:
        records.remove(tx, removed)


async def commit_on(url: str, directory: Path, seed: int) -> None:
    """Until killed."""
    database = open_database(url, directory)
    await database.open()
    records = NumberRecords(SecretBox([KEY]))
    chance = random.Random(seed)
    step = seed * 1_000
    while True:
        step += 1
        await database.write(lambda tx, step=step: change(tx, records, chance, step))
        print(step, flush=True)


if __name__ == "__main__":
    asyncio.run(commit_on(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))

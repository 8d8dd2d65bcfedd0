from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

import api.outbox
from api.agents import Agents
from api.number_records import ALL, Bought, NumberRecords
from api.outbox import Outbox
from api.place import Place
from api.provisioning_types import BOUGHT, State, begun, read
from api.provisioning_worker import due, of_account
from api.secret_box import SecretBox
from api.store.database import Database, Transaction
from api.store.tables import NumberCountRow, NumberRow, OutboxRow
from api.types import PhoneNumberCreate
from routing.cache import BATCH, decode_number
from tests.api.conftest import PATIENCE, Store
from tests.postgres import PostgresServer

BOX = SecretBox([bytes(32)])
RECORDS = NumberRecords(BOX)
OUTBOX = Outbox(Agents(BOX, RECORDS))


def add(tx: Transaction, *lasts: int, provisioning: State | None = None) -> list[NumberRow]:
    numbers = [PhoneNumberCreate(phone_number=f"+141555501{last:02}", provider="other") for last in lasts]
    bought = Bought("reference", None, begun(BOUGHT, tx.now), due_at=0.0)
    rows = RECORDS.add(tx, numbers, bought=bought if provisioning else None)
    for row in rows if provisioning else ():
        RECORDS.provision(tx, row, provisioning, read(row.progress))
    return rows


def rows_of(session: Session) -> list[OutboxRow]:
    return list(session.scalars(select(OutboxRow).order_by(OutboxRow.revision)))


def place_at(session: Session, revision: int) -> Place:
    """Where a cache is that has the changes up to there."""
    row = session.get_one(OutboxRow, revision)
    return OUTBOX.head(session).at(revision, row.mark)


async def revisions_after(database: Database, revision: int) -> list[int] | None:
    def work(session: Session) -> list[int] | None:
        here = place_at(session, revision) if revision else OUTBOX.head(session).at(0, "")
        rows = OUTBOX.after(session, here)
        return None if rows is None else [row.revision for row in rows]

    return await database.read(work)


# Following it.


async def test_changes_are_followed_from_any_place(database: Database) -> None:
    assert await revisions_after(database, 0) == []
    await database.write(lambda tx: add(tx, 0, 1))
    await database.write(lambda tx: add(tx, 2))
    assert await revisions_after(database, 0) == [1, 2, 3]
    assert await revisions_after(database, 1) == [2, 3]
    assert await revisions_after(database, 3) == []
    head = await database.read(OUTBOX.head)
    assert head == await database.read(lambda session: place_at(session, 3))


async def test_a_place_that_the_store_was_never_at_leads_nowhere(database: Database) -> None:
    await database.write(lambda tx: add(tx, 0, 1))
    head = await database.read(OUTBOX.head)
    for place in (head.at(3, head.mark), head.at(2, "another"), head.at(1, "another")):
        assert await database.read(lambda session, place=place: OUTBOX.after(session, place)) is None


async def test_no_more_than_a_batch_is_read_at_once(database: Database) -> None:
    def many(tx: Transaction) -> None:
        for index in range(BATCH + 7):
            tx.route_changed("agent", f"agt_{index}", None)

    await database.write(many)
    first = await revisions_after(database, 0)
    assert first is not None
    assert first[0] == 1
    assert BATCH <= len(first) <= BATCH + 1
    assert await revisions_after(database, first[-1]) == list(range(first[-1] + 1, BATCH + 8))


async def test_changes_are_those_that_the_cache_takes(database: Database) -> None:
    (row,) = await database.write(lambda tx: add(tx, 0))
    await database.write(lambda tx: RECORDS.remove(tx, tx.session.get_one(NumberRow, row.seq)))
    rows = await database.read(rows_of)
    changes = OUTBOX.changes(rows)
    assert [(each.kind, each.key) for each in changes] == [("number", "+14155550100")] * 2
    encoded = changes[0].value
    assert encoded is not None
    assert b"+14155550100" in encoded
    assert changes[1].value is None
    assert [each.accepted_at for each in changes] == [each.accepted_at for each in rows]


async def test_what_was_published_is_trimmed_but_for_a_tail(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.outbox, "KEPT", 2)
    monkeypatch.setattr(api.outbox, "MAX_PENDING", 6)
    await database.write(lambda tx: add(tx, *range(8)))
    await database.write(lambda tx: OUTBOX.trim(tx, 5))
    assert [row.revision for row in await database.read(rows_of)] == [4, 5, 6, 7, 8]
    assert await revisions_after(database, 4) == [5, 6, 7, 8]
    assert await revisions_after(database, 0) is None
    await database.write(lambda tx: OUTBOX.trim(tx, 8))
    assert [row.revision for row in await database.read(rows_of)] == [7, 8]
    await database.write(lambda tx: add(tx, *range(10, 18)))
    await database.write(lambda tx: OUTBOX.trim(tx, 0))  # nobody publishes
    assert [row.revision for row in await database.read(rows_of)] == [11, 12, 13, 14, 15, 16]


async def test_trimming_never_takes_what_is_to_come(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.outbox, "KEPT", 0)
    await database.write(lambda tx: add(tx, 0, 1))
    await database.write(lambda tx: OUTBOX.trim(tx, 1_000))  # a cache that was ahead of a restored store
    await database.write(lambda tx: add(tx, 2))
    assert [row.revision for row in await database.read(rows_of)] == [3]


# Comparing with it.


async def test_records_come_in_pages_each_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.outbox, "PAGE", 3)
    await database.write(lambda tx: add(tx, *range(8)))
    pages: list[list[str]] = []
    after = 0
    while True:
        last, keys = await database.read(lambda session, after=after: OUTBOX.page(session, "number", after))
        if last == after:
            assert keys == []
            break
        pages.append(keys)
        after = last
    assert [len(keys) for keys in pages] == [3, 3, 2]
    assert [key for keys in pages for key in keys] == [f"+141555501{last:02}" for last in range(8)]


async def test_a_number_that_is_being_bought_takes_no_calls(database: Database) -> None:
    await database.write(lambda tx: add(tx, 0))
    await database.write(lambda tx: add(tx, 1, provisioning="buying"))
    keys = ["+14155550100", "+14155550101", "+14155550102"]
    records = await database.read(lambda session: OUTBOX.records(session, "number", keys))
    assert list(records) == ["+14155550100"]
    assert await database.read(lambda session: OUTBOX.present(session, "number", keys)) == set(records)
    assert [row.value is not None for row in await database.read(rows_of)] == [True, False, False]


async def test_a_number_that_is_being_wired_takes_calls_as_if_it_were(database: Database) -> None:
    """The first call may come before the carrier has told that the number is attached."""
    [row] = await database.write(lambda tx: add(tx, 1, provisioning="wiring"))
    assert row.status == "pending"
    records = await database.read(lambda session: OUTBOX.records(session, "number", [row.phone_number]))
    assert decode_number(records[row.phone_number]).status == "active"
    assert await database.read(lambda session: OUTBOX.present(session, "number", [row.phone_number]))


# Killed at any moment.


def check(session: Session) -> list[str]:
    """That rows, outbox and totals tell the same; the keys of the numbers that there are."""
    rows = rows_of(session)
    assert [row.revision for row in rows] == list(range(1, len(rows) + 1))
    head = OUTBOX.head(session)
    assert (head.revision, head.mark) == ((len(rows), rows[-1].mark) if rows else (0, ""))
    marks = [mark for mark, _ in groupby(rows, lambda row: row.mark)]
    assert len(set(marks)) == len(marks), "a transaction's changes are not in one piece"
    replayed: dict[str, bytes] = {}
    for row in rows:
        replayed.pop(row.key, None)
        if row.value is not None:
            replayed[row.key] = row.value
    numbers = list(session.scalars(select(NumberRow.phone_number)))
    assert replayed == OUTBOX.records(session, "number", numbers)
    total = select(func.sum(NumberCountRow.count)).where(NumberCountRow.agent_id == ALL)
    assert (session.scalar(total) or 0) == len(numbers)
    return numbers


def steps_of(rows: list[OutboxRow]) -> set[int]:
    """Transactions of `committer` that are in an outbox: the numbers that each adds are named after it."""
    return {int(row.key.removeprefix("+1415")[:5]) for row in rows}


@asynccontextmanager
async def committing(store: Store, seed: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.api.committer", store.url, str(store.directory), str(seed)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def lines_of(process: asyncio.subprocess.Process, count: int) -> list[int]:
    """The next promises of a committer."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return [int(await process.stdout.readline()) for _ in range(count)]


async def test_a_writer_killed_at_any_moment_leaves_a_whole_store(store: Store) -> None:
    chance = random.Random(141)
    promised: list[int] = []
    for seed in range(1, 7):
        async with committing(store, seed) as process:
            promised += await lines_of(process, chance.randint(1, 12))
            await asyncio.sleep(chance.random() * 0.01)  # into the midst of the next
            process.kill()
            rest, _ = await process.communicate()
            promised += [int(line) for line in rest.split()]
        async with store.opened() as database:
            assert await database.read(check)
            assert set(promised) <= steps_of(await database.read(rows_of))


async def test_several_writers_killed_one_after_another_leave_a_whole_store(store: Store) -> None:
    async with committing(store, 1) as first, committing(store, 2) as second, committing(store, 3) as third:
        promised: list[int] = []
        for process in (first, second, third):
            promised += await lines_of(process, 3)
            process.kill()
            rest, _ = await process.communicate()
            promised += [int(line) for line in rest.split()]
    async with store.opened() as database:
        assert await database.read(check)
        assert set(promised) <= steps_of(await database.read(rows_of))


async def test_a_server_killed_at_any_moment_leaves_a_whole_store(own_postgres: PostgresServer) -> None:
    chance = random.Random(142)
    store = Store("postgresql", own_postgres.url("postgres"), Path())
    promised: list[int] = []
    for seed in (1, 2, 3):
        async with committing(store, seed) as process:
            promised += await lines_of(process, chance.randint(1, 8))
            await asyncio.sleep(chance.random() * 0.01)
            await asyncio.to_thread(own_postgres.stop, signal.SIGQUIT)
            rest, said = await process.communicate()
            promised += [int(line) for line in rest.split()]
        assert b"StoreUnavailable" in said
        await asyncio.to_thread(own_postgres.start)
        async with store.opened() as database:
            assert await database.read(check)
            assert set(promised) <= steps_of(await database.read(rows_of))


# What it costs.


async def test_no_question_of_the_publisher_walks_over_all_numbers(tmp_path: Path) -> None:
    """As SQLite plans it: with a million numbers such a walk takes half a second, for each page."""
    plans: list[str] = []

    def work(session: Session) -> None:
        def explain(_connection: object, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
            if statement.startswith("SELECT"):
                rows = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                plans.extend(row[3] for row in rows)

        engine = session.get_bind()
        event.listen(engine, "before_cursor_execute", explain)
        try:
            OUTBOX.records(session, "number", ["+14155550100"])
            OUTBOX.present(session, "number", ["+14155550100"])
            OUTBOX.page(session, "number", 7)
            due(session, 1.0, Counter())
            session.scalars(of_account("crd_1", 1.0)).all()
        finally:
            event.remove(engine, "before_cursor_execute", explain)

    async with Store("sqlite", "", tmp_path).opened() as database:
        await database.read(work)
    assert len(plans) >= 5
    assert "phone_number=?" in plans[0] and "phone_number=?" in plans[1], plans
    assert "PRIMARY KEY (rowid>?)" in plans[2], plans
    assert sum("ix_phone_numbers_provisioning" in plan for plan in plans) == 2, plans

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from collections.abc import Coroutine
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only

import api.store.postgres
import api.store.sqlite
from api.store.database import Database, StoreUnavailable, Transaction, open_database
from api.store.postgres import READERS, WRITERS
from api.store.schema import SchemaError, configuration, head
from api.store.sqlite import SqliteDatabase
from api.store.tables import AgentRow, Base, OutboxRow, StateRow
from tests.api.conftest import PATIENCE, Store, until
from tests.postgres import PostgresServer


class Broken(Exception):
    """What a transaction's work raises."""


def add_agent(tx: Transaction, agent_id: str, *, routes: int = 1) -> None:
    """A row, and changes of the routes."""
    row = AgentRow(id=agent_id, name="One", endpoints=b"", created_at=tx.now, updated_at=tx.now, version=1)
    tx.session.add(row)
    tx.session.flush()
    for index in range(routes):
        tx.route_changed("agent", agent_id, None if index % 2 else agent_id.encode())


def agents(session: Session) -> list[str]:
    return list(session.scalars(select(AgentRow.id).order_by(AgentRow.seq)))


def outbox(session: Session) -> list[OutboxRow]:
    return list(session.scalars(select(OutboxRow).order_by(OutboxRow.revision)))


def state(session: Session) -> StateRow:
    return session.scalars(select(StateRow)).one()


def meanwhile(backend: str, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    """Do something on the loop in the midst of a transaction."""
    if backend == "postgresql":
        return await_only(work)
    return asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE)


# The schema.


def differences(session: Session) -> list[Any]:
    options = {"compare_type": True, "compare_server_default": True}
    return list(
        compare_metadata(MigrationContext.configure(session.connection(), opts=options), Base.metadata)
    )


async def test_the_migrations_make_what_the_tables_declare(database: Database) -> None:
    assert await database.read(differences) == []
    await database.write(lambda tx: tx.session.execute(text("DROP INDEX ix_phone_numbers_status")))
    assert [each[0] for each in await database.read(differences)] == ["add_index"]


async def test_the_migrations_go_back_and_forth(store: Store, database: Database) -> None:
    def back(tx: Transaction) -> None:
        command.downgrade(configuration(tx.session.connection()), "base")

    await database.write(back)
    names = text(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        if store.backend == "sqlite"
        else "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    )
    assert await database.read(lambda session: session.scalars(names).all()) == ["alembic_version"]
    await database.open()
    assert await database.read(differences) == []
    assert (await database.read(state)).revision == 0


async def test_opening_again_keeps_what_is_there(store: Store, database: Database) -> None:
    await database.write(lambda tx: add_agent(tx, "agt_one"))
    first = await database.read(state)
    await database.open()
    async with store.opened() as again:
        assert await again.read(agents) == ["agt_one"]
        second = await again.read(state)
    assert (second.store_id, second.revision, second.mark) == (first.store_id, 1, first.mark)


async def test_several_that_open_a_new_store_at_once_share_it(new_store: Store) -> None:
    async with contextlib.AsyncExitStack() as stack:
        opening = (stack.enter_async_context(new_store.opened()) for _ in range(6))
        databases = await asyncio.gather(*opening)
        states = [await each.read(state) for each in databases]
    assert len({each.store_id for each in states}) == 1
    assert {each.revision for each in states} == {0}


async def test_stores_are_told_apart(store: Store, database: Database, tmp_path: Path) -> None:
    async with Store("sqlite", "", tmp_path / "other").opened() as other:
        assert (await other.read(state)).store_id != (await database.read(state)).store_id


async def test_a_store_of_a_newer_version_is_left_alone(store: Store, database: Database) -> None:
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    await database.write(lambda tx: tx.session.execute(newer))
    with pytest.raises(SchemaError, match="newer version"):
        await database.open()
    assert await database.read(agents) == []


async def test_the_newest_step_is_the_one_that_a_store_is_at(database: Database) -> None:
    version = text("SELECT version_num FROM alembic_version")
    newest = await asyncio.to_thread(head)
    assert newest is not None
    assert await database.read(lambda session: session.scalar(version)) == newest


# Transactions.


async def test_what_was_written_is_read(store: Store, database: Database) -> None:
    assert await database.write(lambda tx: add_agent(tx, "agt_one") or "result") == "result"
    assert await database.read(agents) == ["agt_one"]
    async with store.opened() as other:
        assert await other.read(agents) == ["agt_one"]


async def test_the_outbox_is_numbered_on_and_marked_by_transaction(database: Database) -> None:
    await database.write(lambda tx: add_agent(tx, "agt_one", routes=2))
    await database.write(lambda tx: add_agent(tx, "agt_two", routes=3))
    rows = await database.read(outbox)
    assert [row.revision for row in rows] == [1, 2, 3, 4, 5]
    assert [(row.kind, row.key, row.value) for row in rows] == [
        ("agent", "agt_one", b"agt_one"),
        ("agent", "agt_one", None),
        ("agent", "agt_two", b"agt_two"),
        ("agent", "agt_two", None),
        ("agent", "agt_two", b"agt_two"),
    ]
    assert [len(list(group)) for _, group in groupby(rows, lambda row: row.mark)] == [2, 3]
    last = await database.read(state)
    assert (last.revision, last.mark) == (5, rows[-1].mark)


async def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    told: list[None] = []
    database.on_committed = lambda: told.append(None)

    def fail(tx: Transaction) -> None:
        add_agent(tx, "agt_one", routes=3)
        raise Broken

    with pytest.raises(Broken):
        await database.write(fail)
    assert (await database.read(agents), await database.read(outbox), told) == ([], [], [])
    await database.write(lambda tx: add_agent(tx, "agt_two"))
    assert [row.revision for row in await database.read(outbox)] == [1]


async def test_a_broken_rule_of_the_database_is_told_as_such(database: Database) -> None:
    await database.write(lambda tx: add_agent(tx, "agt_one"))
    with pytest.raises(IntegrityError) as refused:
        await database.write(lambda tx: add_agent(tx, "agt_one"))
    assert "parameters hidden" in str(refused.value)
    assert (await database.read(state)).revision == 1


async def test_commits_are_told_when_they_changed_the_routes(database: Database) -> None:
    told: list[None] = []
    database.on_committed = lambda: told.append(None)
    await database.write(lambda tx: add_agent(tx, "agt_one", routes=0))
    assert told == []
    assert (await database.read(outbox), (await database.read(state)).revision) == ([], 0)
    await database.write(lambda tx: add_agent(tx, "agt_two", routes=3))
    assert told == [None]
    await database.write(lambda tx: tx.route_changed("number", "+14155550100", None))
    assert told == [None, None]
    await database.read(agents)
    assert told == [None, None]


async def test_a_commit_is_visible_when_it_is_told(database: Database) -> None:
    reads: list[asyncio.Task[list[str]]] = []
    database.on_committed = lambda: reads.append(asyncio.create_task(database.read(agents)))
    await database.write(lambda tx: add_agent(tx, "agt_one"))
    assert [await each for each in reads] == [["agt_one"]]


async def test_revisions_are_consecutive_however_many_write(store: Store, database: Database) -> None:
    async with store.opened() as other:
        writing = [
            (database if index % 2 else other).write(
                lambda tx, index=index: add_agent(tx, f"agt_{index}", routes=1 + index % 3)
            )
            for index in range(40)
        ]
        await asyncio.gather(*writing)
    rows = await database.read(outbox)
    assert [row.revision for row in rows] == list(range(1, 1 + sum(1 + index % 3 for index in range(40))))
    transactions = [list(group) for _, group in groupby(rows, lambda row: row.mark)]
    assert len(transactions) == 40
    for changes in transactions:
        (key,) = {row.key for row in changes}
        assert len(changes) == 1 + int(key.removeprefix("agt_")) % 3
    # In the order of commits: what a later one inserted has the later row.
    assert [changes[0].key for changes in transactions] == await database.read(agents)


async def test_a_reader_sees_nothing_of_an_unfinished_write(store: Store, database: Database) -> None:
    loop = asyncio.get_running_loop()

    def work(tx: Transaction) -> tuple[list[str], int]:
        add_agent(tx, "agt_one")
        tx.finish()
        tx.session.flush()
        seen = meanwhile(store.backend, loop, database.read(agents))
        return seen, meanwhile(store.backend, loop, database.read(state)).revision

    assert await database.write(work) == ([], 0)
    assert await database.read(agents) == ["agt_one"]


async def test_a_reader_looks_at_one_moment(store: Store, database: Database) -> None:
    loop = asyncio.get_running_loop()

    def work(session: Session) -> tuple[int, list[str], int]:
        before = state(session).revision
        meanwhile(store.backend, loop, database.write(lambda tx: add_agent(tx, "agt_one")))
        session.expire_all()
        return before, agents(session), state(session).revision

    assert await database.read(work) == (0, [], 0)
    assert await database.read(agents) == ["agt_one"]


async def test_a_cancelled_write_that_is_committed_is_told(store: Store, database: Database) -> None:
    """On SQLite a transaction under way cannot be stopped; on PostgreSQL it is rolled back."""
    told = asyncio.Event()
    database.on_committed = told.set
    loop = asyncio.get_running_loop()
    begun = asyncio.Event()
    go_on = asyncio.Event()

    def work(tx: Transaction) -> None:
        loop.call_soon_threadsafe(begun.set)
        meanwhile(store.backend, loop, go_on.wait())
        add_agent(tx, "agt_one")

    writing = asyncio.create_task(database.write(work))
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        go_on.set()
        if store.backend == "sqlite":
            await told.wait()
    await database.write(lambda tx: add_agent(tx, "agt_two", routes=0))
    committed = "agt_one" in await database.read(agents)
    assert committed == (store.backend == "sqlite")
    assert told.is_set() == committed


async def test_a_write_that_is_cancelled_in_line_is_not_done(database: Database) -> None:
    writing = [
        asyncio.create_task(database.write(lambda tx, n=n: add_agent(tx, f"agt_{n}")))
        for n in range(2 * WRITERS)
    ]
    await asyncio.sleep(0)
    for each in writing[WRITERS:]:
        each.cancel()
    results = await asyncio.gather(*writing, return_exceptions=True)
    assert results[:WRITERS] == [None] * WRITERS
    assert all(isinstance(each, asyncio.CancelledError) for each in results[WRITERS:])
    await database.write(lambda tx: add_agent(tx, "agt_last"))
    written = await database.read(agents)
    assert set(written) == {*(f"agt_{n}" for n in range(WRITERS)), "agt_last"}


async def test_writes_cancelled_at_any_time_cost_no_connection(database: Database) -> None:
    told: list[None] = []
    database.on_committed = lambda: told.append(None)
    for turns in range(60):
        writing = asyncio.create_task(database.write(lambda tx, turns=turns: add_agent(tx, f"agt_{turns}")))
        for _ in range(turns):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    await asyncio.gather(
        *(database.write(lambda tx, n=n: add_agent(tx, f"agt_last_{n}")) for n in range(2 * WRITERS))
    )
    rows = await database.read(outbox)
    assert [row.revision for row in rows] == list(range(1, len(rows) + 1))
    assert [row.key for row in rows] == await database.read(agents)
    if isinstance(database, SqliteDatabase):  # elsewhere looking now and then finds what was cancelled
        assert len(told) == len(rows)


async def test_closing_twice_is_fine(store: Store) -> None:
    database = await store.database()
    await database.close()
    database = await store.database()
    await database.open()
    await database.read(agents)
    await database.close()
    await database.close()


# A store that is not there, or not ours.


async def test_a_schema_without_state_is_not_taken_for_a_store(database: Database) -> None:
    await database.write(lambda tx: tx.session.execute(delete(StateRow)))
    with pytest.raises(StoreUnavailable, match="not made by us"):
        await database.write(lambda tx: add_agent(tx, "agt_one"))


async def test_a_writer_that_another_one_holds_up_is_told_to_come_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.store.sqlite, "LOCK_SECONDS", 0.5)
    monkeypatch.setattr(api.store.postgres, "LOCK_SECONDS", 0.5)
    loop = asyncio.get_running_loop()
    async with store.opened() as slow, store.opened() as database:

        async def refused() -> None:
            with pytest.raises(StoreUnavailable):
                await database.write(lambda tx: add_agent(tx, "agt_two"))

        def work(tx: Transaction) -> None:
            add_agent(tx, "agt_one")
            meanwhile(store.backend, loop, refused())

        await slow.write(work)
        assert await database.read(agents) == ["agt_one"]
        await database.write(lambda tx: add_agent(tx, "agt_two"))
        assert await slow.read(agents) == ["agt_one", "agt_two"]


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://root:hunter2@host/name", "postgresql://u:hunter2@h:port/x"]
)
def test_an_url_of_something_else_is_refused_without_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"^api\.database_url: ") as refused:
        open_database(url, tmp_path)
    assert "hunter2" not in str(refused.value)


async def test_sqlite_may_be_named_by_url(tmp_path: Path) -> None:
    async with Store("sqlite", f"sqlite:///{tmp_path}/other.db", tmp_path).opened() as database:
        await database.write(lambda tx: add_agent(tx, "agt_one"))
    assert (tmp_path / "other.db").stat().st_size > 0


# SQLite.


@pytest.fixture
async def sqlite(tmp_path: Path) -> Store:
    return Store("sqlite", "", tmp_path / "data")


async def test_sqlite_commits_survive_a_power_cut_and_do_not_stop_readers(sqlite: Store) -> None:
    async with sqlite.opened() as database:

        def pragmas(session: Session) -> list[Any]:
            names = ("journal_mode", "synchronous", "foreign_keys")
            return [session.scalar(text(f"PRAGMA {name}")) for name in names]

        expected = ["wal", 2, 1]  # 2: FULL
        assert await database.write(lambda tx: pragmas(tx.session)) == expected
        assert await database.read(pragmas) == expected


async def test_nobody_else_may_read_an_sqlite_store(sqlite: Store) -> None:
    async with sqlite.opened() as database:
        await database.write(lambda tx: add_agent(tx, "agt_one"))
        modes = {path.name: path.stat().st_mode & 0o777 for path in sqlite.directory.glob("api.sqlite*")}
    assert modes == {"api.sqlite": 0o600, "api.sqlite-shm": 0o600, "api.sqlite-wal": 0o600}


async def test_a_locked_sqlite_file_is_unavailable_until_it_is_free(
    sqlite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.store.sqlite, "LOCK_SECONDS", 0.5)
    async with sqlite.opened() as database:
        with contextlib.closing(sqlite3.connect(sqlite.directory / "api.sqlite")) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                await database.write(lambda tx: add_agent(tx, "agt_one"))
            with pytest.raises(StoreUnavailable, match="locked"):
                await database.open()
            assert await database.read(agents) == []
        await database.write(lambda tx: add_agent(tx, "agt_one"))
        assert await database.read(agents) == ["agt_one"]


async def test_a_full_disk_is_unavailable_and_loses_nothing(sqlite: Store) -> None:
    async with sqlite.opened() as database:
        await database.write(lambda tx: add_agent(tx, "agt_one"))
        full = text("PRAGMA max_page_count = 1")  # as many as there are
        await database.write(lambda tx: tx.session.execute(full))

        def much(tx: Transaction) -> None:
            add_agent(tx, "agt_two")
            tx.route_changed("agent", "agt_two", bytes(1_000_000))

        with pytest.raises(StoreUnavailable, match="full"):
            await database.write(much)
        assert await database.read(agents) == ["agt_one"]


@pytest.mark.parametrize("what", ["file", "directory"])
async def test_a_place_that_cannot_be_written_is_unavailable(tmp_path: Path, what: str) -> None:
    if what == "file":
        (tmp_path / "data").write_text("in the way")
    else:
        (tmp_path / "data" / "api.sqlite").mkdir(parents=True)
    with pytest.raises(StoreUnavailable):
        async with Store("sqlite", "", tmp_path / "data").opened():
            pass


async def test_a_file_that_is_no_database_is_unavailable_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "api.sqlite"
    path.parent.mkdir()
    path.write_bytes(b"something else altogether" * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        async with Store("sqlite", "", path.parent).opened():
            pass
    assert path.read_bytes() == b"something else altogether" * 100


# PostgreSQL.


async def test_a_server_that_restarts_is_unavailable_meanwhile(own_postgres: PostgresServer) -> None:
    store = Store("postgresql", own_postgres.url("postgres"), Path())
    async with store.opened() as database:
        await database.write(lambda tx: add_agent(tx, "agt_one"))
        await asyncio.to_thread(own_postgres.stop)
        with pytest.raises(StoreUnavailable):
            await database.read(agents)
        with pytest.raises(StoreUnavailable):
            await database.write(lambda tx: add_agent(tx, "agt_two"))
        with pytest.raises(StoreUnavailable):
            await database.open()
        await asyncio.to_thread(own_postgres.start)
        await database.write(lambda tx: add_agent(tx, "agt_three"))
        assert await database.read(agents) == ["agt_one", "agt_three"]


async def test_a_server_that_dies_under_a_transaction_is_unavailable(own_postgres: PostgresServer) -> None:
    store = Store("postgresql", own_postgres.url("postgres"), Path())
    async with store.opened() as database:

        def work(tx: Transaction) -> None:
            add_agent(tx, "agt_one")
            await_only(asyncio.to_thread(own_postgres.stop, signal.SIGQUIT))
            add_agent(tx, "agt_two")

        with pytest.raises(StoreUnavailable):
            await database.write(work)
        await asyncio.to_thread(own_postgres.start)
        assert await database.read(agents) == []


async def test_a_server_that_answers_no_more_is_unavailable(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.store.postgres, "LOCK_SECONDS", 0.2)
    monkeypatch.setattr(api.store.postgres, "STATEMENT_SECONDS", 0.2)
    store = Store("postgresql", own_postgres.url("postgres"), Path())
    async with store.opened() as database, asyncio.timeout(PATIENCE):
        await database.read(agents)
        with own_postgres.frozen(), pytest.raises(StoreUnavailable):
            await database.read(agents)
        assert await database.read(agents) == []


@pytest.mark.parametrize("name", ["nobody_made_this", "postgres?host=/nowhere"])
async def test_a_database_that_is_not_there_is_unavailable(postgres: PostgresServer, name: str) -> None:
    url = postgres.url(name) if "?" not in name else f"postgresql://postgres@/{name}"
    with pytest.raises(StoreUnavailable):
        async with Store("postgresql", url, Path()).opened():
            pass


async def test_a_busy_pool_is_unavailable(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.store.postgres, "LOCK_SECONDS", 0.1)
    name = await postgres.create_database()
    store = Store("postgresql", postgres.url(name), Path())
    done = asyncio.Event()
    held: list[None] = []
    async with store.opened() as database:

        def hold(session: Session) -> int | None:
            count = session.scalar(select(func.count()).select_from(AgentRow))
            held.append(None)
            await_only(done.wait())
            return count

        holding = [asyncio.create_task(database.read(hold)) for _ in range(READERS)]
        await until(lambda: len(held) == READERS)
        with pytest.raises(StoreUnavailable, match="busy"):
            await database.read(hold)
        done.set()
        assert await asyncio.gather(*holding) == [0] * len(holding)
    await postgres.drop_database(name)

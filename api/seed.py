"""The first numbers and agents of an empty store, from a numbers file."""

from __future__ import annotations

from pathlib import Path

import msgspec
from sqlalchemy import select

from api.agents import Agents
from api.number_records import NumberRecords
from api.store.database import Transaction
from api.store.tables import AgentRow, NumberRow
from api.types import AgentCreate, PhoneNumberImport
from routing.numbers_file import NumbersFileError, Routes, load


class SeedError(Exception):
    """The file cannot be used; the message names it and the fix."""


def read(path: Path) -> tuple[list[AgentCreate], list[PhoneNumberImport]]:
    """What a file says, as the API takes it. Blocks. Raises SeedError."""
    try:
        return as_requests(load(path))
    except (NumbersFileError, msgspec.ValidationError) as error:
        raise SeedError(f"api.seed_file: {error}") from None


def as_requests(routes: Routes) -> tuple[list[AgentCreate], list[PhoneNumberImport]]:
    """Routes of a file as the API takes them. Raises msgspec.ValidationError."""
    agents = [msgspec.convert(msgspec.to_builtins(agent), AgentCreate) for agent in routes.agents]
    numbers = []
    for number in routes.numbers:
        fields = msgspec.to_builtins(number)
        fields.pop("updated_at", None)
        numbers.append(msgspec.convert({"provider": "other", **fields}, PhoneNumberImport))
    return agents, numbers


def plant(
    tx: Transaction,
    agents: Agents,
    numbers: NumberRecords,
    first: tuple[list[AgentCreate], list[PhoneNumberImport]],
) -> bool:
    """Put them into a store that never had any; tells whether it did."""
    if tx.state.seeded:
        return False
    tx.state.seeded = True
    if any(tx.session.scalar(select(table.seq).limit(1)) is not None for table in (AgentRow, NumberRow)):
        return False
    for agent in first[0]:
        agents.add(tx, agent)
    if first[1]:
        numbers.add(tx, first[1], ids=[number.id for number in first[1]])
    return True

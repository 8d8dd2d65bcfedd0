"""Many numbers in one request: each in order is taken, each that is not is told by its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.decoding import decode, plain
from api.number_records import NumberRecords, faults_of
from api.operations import MAX_IMPORT_BODY, Operation, Reply, Request
from api.pipeline import DryRun
from api.problems import FieldError, Problem
from api.store.database import Transaction
from api.store.tables import NumberRow
from api.types import ImportFault, ImportRequest, ImportResult, PhoneNumberImport


@dataclass(slots=True)
class _Item:
    """One of the numbers. index: its place in the request; faults: what is wrong with it."""

    index: int
    number: PhoneNumberImport | None = None
    faults: list[FieldError] = field(default_factory=list)


@dataclass(slots=True)
class _Tally:
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    faults: list[tuple[int, FieldError]] = field(default_factory=list)

    def result(self) -> ImportResult:
        faults = sorted(self.faults, key=lambda each: each[0])
        return ImportResult(
            created=self.created,
            updated=self.updated,
            unchanged=self.unchanged,
            skipped=self.skipped,
            failed=len({index for index, _ in faults}),
            errors=[ImportFault(index, f.field, f.rule, f.detail, f.fix) for index, f in faults],
        )


class NumberImport:
    """Takes many numbers."""

    def __init__(self, records: NumberRecords) -> None:
        self._records = records

    def operations(self) -> list[Operation]:
        """The one operation."""
        return [
            Operation(
                id="importPhoneNumbers",
                method="POST",
                path="/v1/phone-numbers/import",
                summary="Register many numbers at once; faulty ones are reported and leave the others alone",
                tag="Phone numbers",
                scope="write",
                write=self.take,
                request=ImportRequest,
                response=ImportResult,
                max_body=MAX_IMPORT_BODY,
                example={
                    "items": [
                        {
                            "phone_number": "+14155550100",
                            "provider": "twilio",
                            "inbound_routing": {"agent_id": "agt_sales"},
                        }
                    ],
                    "on_conflict": "error",
                    "dry_run": True,
                },
            )
        ]

    def take(self, tx: Transaction, request: Request) -> Reply:
        """Register what is in order."""
        body: ImportRequest = request.body
        items = [_decoded(index, item) for index, item in enumerate(body.items)]
        _find_repeated(items)
        sound = [item for item in items if not item.faults]
        numbers = [item.number for item in sound if item.number is not None]
        for item, faults in zip(sound, faults_of(tx.session, numbers), strict=True):
            item.faults = faults
        tally = _Tally()
        held = _held(tx.session, [number.phone_number for number in numbers])
        taken = _taken_ids(tx.session, [number.id for number in numbers if number.id])
        fresh: list[PhoneNumberImport] = []
        for item in sound:
            number = item.number
            if number is None or item.faults:
                continue
            row = held.get(number.phone_number)
            if row is not None:
                self._meet(tx, item, number, row, body.on_conflict, tally)
            elif number.id in taken:
                item.faults.append(_clash("id", f"{number.id} is the id of another number", "leave it out"))
            else:
                fresh.append(number)
        if fresh:
            self._records.add(tx, fresh, ids=[number.id for number in fresh])
        tally.created = len(fresh)
        tally.faults = [(item.index, fault) for item in items for fault in item.faults]
        reply = Reply(tally.result())
        if body.dry_run:
            raise DryRun(reply)
        return reply

    def _meet(
        self,
        tx: Transaction,
        item: _Item,
        number: PhoneNumberImport,
        row: NumberRow,
        on_conflict: str,
        tally: _Tally,
    ) -> None:
        """A number that is registered already."""
        wanted = plain(number)
        mentioned = wanted.keys() - {"phone_number", "id"}
        present = plain(self._records.writable(row)) | {"provider": row.provider}
        if all(present.get(name) == wanted[name] for name in mentioned):
            tally.unchanged += 1
        elif on_conflict == "skip":
            tally.skipped += 1
        elif on_conflict == "error" or row.provisioning is not None:
            fix = "import with on_conflict update or skip, or take it out"
            item.faults.append(
                _clash("phone_number", f"is registered already, as {row.id}, and differs", fix)
            )
        elif row.provider != number.provider:
            fix = "delete the number first, or import it with its present provider"
            item.faults.append(_clash("provider", f"is {row.provider} and cannot be changed", fix))
        else:
            self._records.change(tx, row, number)
            tally.updated += 1


def _decoded(index: int, item: Any) -> _Item:
    try:
        return _Item(index, decode(item, PhoneNumberImport))
    except Problem as problem:
        return _Item(index, None, problem.errors)


def _find_repeated(items: Sequence[_Item]) -> None:
    first: dict[str, int] = {}
    for item in items:
        if item.number is None:
            continue
        for name, value in (("phone_number", item.number.phone_number), ("id", item.number.id)):
            if value is None:
                continue
            before = first.setdefault(f"{name} {value}", item.index)
            if before != item.index:
                item.faults.append(_clash(name, f"stands in items[{before}] already", "remove one"))


def _clash(name: str, detail: str, fix: str) -> FieldError:
    return FieldError(name, "unique", detail, fix)


def _held(session: Session, phone_numbers: Sequence[str]) -> dict[str, NumberRow]:
    if not phone_numbers:
        return {}
    rows = session.scalars(select(NumberRow).where(NumberRow.phone_number.in_(phone_numbers)))
    return {row.phone_number: row for row in rows}


def _taken_ids(session: Session, ids: Sequence[str]) -> set[str]:
    if not ids:
        return set()
    return set(session.scalars(select(NumberRow.id).where(NumberRow.id.in_(ids))))

"""Numbers in files: CSV as spreadsheets write it, TOML as numbers files have it, JSON as the API has it."""

from __future__ import annotations

import csv
import difflib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from gateway.cli.errors import UsageError
from routing.numbers_file import NumbersFileError, load

STDIN: Final = Path("-")

COLUMNS: Final = (
    "phone_number",
    "provider",
    "friendly_name",
    "agent_id",
    "routing_agent_id",
    "fallback_agent_id",
    "voicemail_message",
    "voicemail_greeting",
    "voicemail_email",
    "voicemail",
    "answer_first",
    "recording",
    "status",
    "credential_id",
    "id",
    "trunk_address",
    "auth_username",
    "auth_password",
)
"""Of a CSV file. What is exported has all but the last: the API never returns it."""

EXPORTED: Final = COLUMNS[:-1]

MAX_CELL: Final = 8_192
"""Characters."""

_YES: Final = frozenset({"true", "yes", "1"})
_NO: Final = frozenset({"false", "no", "0"})


@dataclass(frozen=True, slots=True)
class Item:
    """A number in a file. line: where it begins, from 1; body: as the API takes it."""

    line: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LineFault:
    """What is wrong with a line, before anybody was asked."""

    line: int
    field: str
    detail: str
    fix: str


@dataclass(frozen=True, slots=True)
class NumberSource:
    """A file to import.

    agents: to be there before the numbers; count: of numbers, if that can be known.
    read: the numbers and faulty lines, one after the other, not kept.
    """

    name: str
    agents: Sequence[dict[str, Any]]
    count: int | None
    read: Callable[[], Iterator[Item | LineFault]]


def open_source(path: Path) -> NumberSource:
    """A file by its suffix; `-` is CSV from stdin. Raises UsageError."""
    if path == STDIN:
        return NumberSource("stdin", (), None, lambda: _csv_items(sys.stdin, "stdin"))
    if path.suffix == ".toml":
        return _toml_source(path)
    if path.suffix != ".csv":
        raise UsageError(f"{path}: import takes .csv and .toml, or - for CSV on stdin")

    def read() -> Iterator[Item | LineFault]:
        with _opened(path) as file:
            yield from _csv_items(file, str(path))

    with _opened(path) as file:
        count = max(0, sum(1 for _ in file) - 1)
    return NumberSource(str(path), (), count, read)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8: {error.reason} at byte {error.start}") from None


def _toml_source(path: Path) -> NumberSource:
    try:
        routes = load(path)
        text = path.read_text(encoding="utf-8")
    except NumbersFileError as error:
        raise UsageError(str(error)) from None
    starts = [
        line for line, told in enumerate(text.splitlines(), 1) if told.strip().startswith("[[numbers]]")
    ]
    if len(starts) != len(routes.numbers):
        starts = [0] * len(routes.numbers)  # written in another way
    agents = [msgspec.to_builtins(agent) for agent in routes.agents]

    def read() -> Iterator[Item | LineFault]:
        for line, number in zip(starts, routes.numbers, strict=True):
            body = {"provider": "other", **msgspec.to_builtins(number)}
            body.pop("updated_at", None)
            yield Item(line, body)

    return NumberSource(str(path), agents, len(routes.numbers), read)


def _csv_items(file: TextIO, name: str) -> Iterator[Item | LineFault]:
    first = file.readline().removeprefix("\ufeff")
    delimiter = max(",;\t", key=first.count)
    header = next(csv.reader([first], delimiter=delimiter), [])
    columns = [column.strip() for column in header]
    _check_header(columns, name)
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(file, delimiter=delimiter)
    line = 2
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield LineFault(line, "", str(error), "correct the line")
            line = reader.line_num + 2
            continue
        if len(row) > len(columns):
            detail = f"has {len(row)} cells, the header {len(columns)}"
            yield LineFault(line, "", detail, "put cells that hold the delimiter in quotes")
        elif any(cell.strip() for cell in row):
            yield _row(line, dict(zip(columns, (cell.strip() for cell in row), strict=False)))
        line = reader.line_num + 2


def _check_header(columns: Sequence[str], name: str) -> None:
    for column in columns:
        if column not in COLUMNS:
            near = difflib.get_close_matches(column, COLUMNS, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(COLUMNS)}"
            raise UsageError(f"{name}:1: {column!r}: no such column; {hint}")
    for column in ("phone_number", "provider"):
        if column not in columns:
            raise UsageError(f"{name}:1: the header has no column {column}")
    repeated = next((column for column in columns if columns.count(column) > 1), None)
    if repeated is not None:
        raise UsageError(f"{name}:1: column {repeated} stands twice")


def _row(line: int, cells: dict[str, str]) -> Item | LineFault:
    """Empty cells are absent."""
    given = {column: cell for column, cell in cells.items() if cell}
    body: dict[str, Any] = {
        column: given[column]
        for column in (
            "id",
            "phone_number",
            "provider",
            "friendly_name",
            "agent_id",
            "status",
            "credential_id",
        )
        if column in given
    }
    config = {
        column: given[column]
        for column in ("trunk_address", "auth_username", "auth_password")
        if column in given
    }
    if config:
        body["provider_config"] = config
    routing: dict[str, Any] = {}
    if "routing_agent_id" in given:
        routing["agent_id"] = given["routing_agent_id"]
    if "fallback_agent_id" in given:
        routing["fallback"] = {"agent_id": given["fallback_agent_id"]}
    for column in ("voicemail_message", "voicemail_greeting", "voicemail_email"):
        if column in given:
            routing[column] = given[column]
    for column in ("voicemail", "answer_first"):
        if column in given:
            word = given[column].lower()
            if word not in _YES | _NO:
                fault = f"{given[column]!r} is neither true nor false"
                return LineFault(line, column, fault, "write true or false")
            routing[column] = word in _YES
    if "recording" in given:
        routing["recording"] = given["recording"].lower()
    if routing:
        body["inbound_routing"] = routing
    return Item(line, body)


class NumberWriter:
    """Writes exported numbers, one after the other.

    Args:
        file: written to.
        form: `csv`, `toml` or `json`.

    """

    def __init__(self, file: TextIO, form: str, agents: Sequence[dict[str, Any]]) -> None:
        self._file = file
        self._form = form
        self._first = True
        self._csv = csv.DictWriter(file, EXPORTED, lineterminator="\n") if form == "csv" else None
        if self._csv is not None:
            self._csv.writeheader()
        elif form == "json":
            file.write("[")
        else:
            for agent in agents:
                kept = {
                    name: agent[name]
                    for name in (
                        *("id", "name", "voicemail_message", "voicemail_greeting", "recording"),
                        "endpoints",
                    )
                    if agent[name]
                }
                file.write(_toml_table("agents", kept))

    def write(self, number: dict[str, Any]) -> None:
        """Add a number, as the API shows it; one that is on its way back to its carrier is left out."""
        if number["status"] == "releasing":
            return
        if number["status"] == "pending" and self._form != "json":
            number = number | {"status": "active"}  # as it will be, and as import takes it
        if self._csv is not None:
            self._csv.writerow(_cells(number))
        elif self._form == "json":
            self._file.write(("\n" if self._first else ",\n") + json.dumps(number, ensure_ascii=False))
        else:
            names = (
                "id",
                "phone_number",
                "provider",
                "friendly_name",
                "agent_id",
                "status",
                "inbound_routing",
            )
            kept = {name: number[name] for name in names if number[name] is not None}
            self._file.write(_toml_table("numbers", kept))
        self._first = False

    def close(self) -> None:
        """Write what comes at the end."""
        if self._form == "json":
            self._file.write("\n]\n")


def _cells(number: dict[str, Any]) -> dict[str, str]:
    routing = number["inbound_routing"] or {}
    config = number["provider_config"] or {}
    values = {
        **{
            name: number[name]
            for name in ("id", "phone_number", "provider", "friendly_name", "agent_id", "status")
        },
        "credential_id": number["credential_id"],
        "routing_agent_id": routing.get("agent_id"),
        "fallback_agent_id": (routing.get("fallback") or {}).get("agent_id"),
        "voicemail_message": routing.get("voicemail_message"),
        "voicemail_greeting": routing.get("voicemail_greeting"),
        "voicemail_email": routing.get("voicemail_email"),
        # Routing that says nothing else must still be there after an import.
        "voicemail": str(routing.get("voicemail", True)).lower()
        if number["inbound_routing"] is not None
        else None,
        "answer_first": "true" if routing.get("answer_first") else None,
        "recording": routing.get("recording"),
        "trunk_address": config.get("trunk_address"),
        "auth_username": config.get("auth_username"),
    }
    return {name: "" if value is None else str(value) for name, value in values.items()}


def _toml_table(name: str, values: dict[str, Any]) -> str:
    lines = [f"[[{name}]]", *(f"{key} = {_toml_value(value)}" for key, value in values.items()), "", ""]
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        inner = (
            f"{json.dumps(key)} = {_toml_value(each)}" for key, each in value.items() if each is not None
        )
        return "{ " + ", ".join(inner) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)

"""Numbers and agents from a TOML file: all or nothing; every error names file, line, field and fix."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from routing import message_variables
from routing.endpoint_rules import faults
from routing.models import Agent, InboundRouting, PhoneNumber
from routing.numbering import E164

Record = TypeVar("Record", Agent, PhoneNumber)

TABLES: Final = ("agents", "numbers")


class NumbersFileError(Exception):
    """The file cannot be used; nothing of it is."""


@dataclass(frozen=True, slots=True)
class Routes:
    """What a file says."""

    numbers: tuple[PhoneNumber, ...]
    agents: tuple[Agent, ...]


def load(path: Path) -> Routes:
    """Read a file. Blocks: call it in a thread.

    Raises:
        NumbersFileError: naming file, line, field and what to do.

    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NumbersFileError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    return parse(text, str(path))


def parse(text: str, name: str) -> Routes:
    """Parse a file's text; `name` stands in errors. Raises NumbersFileError."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise NumbersFileError(f"{name}: not TOML: {error}") from None
    reader = _Reader(name, text)
    for key in document:
        if key not in TABLES:
            raise reader.error(None, 0, key, f"unknown table{_nearest(key, TABLES)}")
    agents = [reader.agent(index, entry) for index, entry in enumerate(reader.entries(document, "agents"))]
    numbers = [reader.number(index, entry) for index, entry in enumerate(reader.entries(document, "numbers"))]
    reader.check_unique("agents", "id", [agent.id for agent in agents])
    reader.check_unique("numbers", "phone_number", [number.phone_number for number in numbers])
    reader.check_unique("numbers", "id", [number.id for number in numbers])
    reader.check_references(numbers, {agent.id for agent in agents})
    return Routes(tuple(numbers), tuple(agents))


class _Reader:
    """Knows where in the file things stand."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._lines = text.splitlines()

    def error(self, table: str | None, index: int, field: str, fault: str) -> NumbersFileError:
        line = self._line(table, index, field)
        where = f"{self._name}:{line}" if line else self._name
        label = f"{table}[{index}].{field}" if table else field
        return NumbersFileError(f"{where}: {label}: {fault}")

    def entries(self, document: Mapping[str, Any], table: str) -> Sequence[Mapping[str, Any]]:
        entries = document.get(table, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise self.error(None, 0, table, f"write [[{table}]] with two brackets: there can be several")
        return entries

    def agent(self, index: int, entry: Mapping[str, Any]) -> Agent:
        self._known(entry, Agent, "agents", index)
        named = {**entry, "name": entry.get("name", entry["id"])} if "id" in entry else entry
        agent = self._convert(named, Agent, "agents", index)
        if not agent.id:
            raise self.error("agents", index, "id", "is empty: write something like agt_sales")
        for number, endpoint in enumerate(agent.endpoints):
            for field, fault in faults(endpoint):
                raise self.error("agents", index, f"endpoints[{number}].{field}", fault)
        self._check_message("agents", index, "voicemail_message", agent.voicemail_message)
        return agent

    def number(self, index: int, entry: Mapping[str, Any]) -> PhoneNumber:
        self._known(entry, PhoneNumber, "numbers", index)
        written = entry.get("phone_number")
        if not isinstance(written, str) or not E164.fullmatch(written):
            fault = f"{written!r} is not E.164: write it as +14155550100"
            raise self.error("numbers", index, "phone_number", fault)
        derived = f"phn_{written[1:]}"
        number = self._convert({"id": derived, **entry}, PhoneNumber, "numbers", index)
        if number.inbound_routing is not None:
            message = number.inbound_routing.voicemail_message
            self._check_message("numbers", index, "inbound_routing.voicemail_message", message)
        return number

    def check_unique(self, table: str, field: str, values: Sequence[str]) -> None:
        first: dict[str, int] = {}
        for index, value in enumerate(values):
            if value in first:
                line = self._line(table, first[value], field)
                raise self.error(
                    table, index, field, f"{value} stands twice, first in line {line}: remove one"
                )
            first[value] = index

    def check_references(self, numbers: Sequence[PhoneNumber], known: set[str]) -> None:
        for index, number in enumerate(numbers):
            routing = number.inbound_routing or InboundRouting()
            if number.inbound_routing and not (routing.agent_id or number.agent_id):
                fault = "no agent anywhere: write agent_id here or in the number, or remove inbound_routing"
                raise self.error("numbers", index, "inbound_routing", fault)
            for field, agent_id in (
                ("agent_id", number.agent_id),
                ("inbound_routing.agent_id", routing.agent_id),
                (
                    "inbound_routing.fallback.agent_id",
                    routing.fallback.agent_id if routing.fallback else None,
                ),
            ):
                if agent_id is not None and agent_id not in known:
                    fault = f"no agent {agent_id}{_nearest(agent_id, known)}"
                    raise self.error("numbers", index, field, fault)

    def _check_message(self, table: str, index: int, field: str, message: str | None) -> None:
        for fault, fix in message_variables.faults(message or ""):
            raise self.error(table, index, field, f"{fault}: {fix}")

    def _known(self, entry: Mapping[str, Any], kind: type[msgspec.Struct], table: str, index: int) -> None:
        """Refuse unknown keys, at every depth."""
        fault = _unknown_key(entry, kind)
        if fault is not None:
            raise self.error(table, index, *fault)

    def _convert(self, entry: Mapping[str, Any], kind: type[Record], table: str, index: int) -> Record:
        try:
            return msgspec.convert(entry, kind)
        except msgspec.ValidationError as error:
            fault, _, place = str(error).partition(" - at `$.")
            if place:
                raise self.error(table, index, place.rstrip("`"), _lower(fault)) from None
            missing = re.search(r"missing required field `(\w+)`", fault)
            raise self.error(table, index, missing.group(1) if missing else "?", _lower(fault)) from None

    def _line(self, table: str | None, index: int, field: str) -> int:
        """The line where a field stands, or else its entry begins; 0 if neither is found."""
        if table is None:
            return next((i for i, line in enumerate(self._lines, 1) if field in line), 0)
        starts = [i for i, line in enumerate(self._lines) if line.strip().startswith(f"[[{table}]]")]
        if index >= len(starts):
            return 0  # written in another way, such as numbers = [{…}]
        start = starts[index]
        ends = (i for i in range(start + 1, len(self._lines)) if self._lines[i].lstrip().startswith("[["))
        entry = self._lines[start : next(ends, None)]
        at = 0
        for step in re.findall(r"\w+", re.sub(r"\[\d+\]", "", field)):
            # The outer key's line holds the inner one, or comes before it.
            key = re.compile(rf"(?<![\w-]){step}[\"']?\s*[=.\]]")
            at = next((i for i in range(at, len(entry)) if key.search(entry[i])), at)
        return start + at + 1


def _unknown_key(entry: Mapping[str, Any], kind: Any, prefix: str = "") -> tuple[str, str] | None:
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in entry.items():
        if key not in fields:
            return f"{prefix}{key}", f"unknown key{_nearest(key, fields)}"
        inner = _struct_in(fields[key])
        if inner is None:
            continue
        nested = value if isinstance(value, list) else [value]
        for each in nested:
            if isinstance(each, dict) and (fault := _unknown_key(each, inner, f"{prefix}{key}.")):
                return fault
    return None


def _struct_in(annotation: Any) -> Any:
    """The struct that a field holds, itself, optionally or in a tuple; None if it holds none."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, msgspec.Struct):
            return candidate
    return None


def _nearest(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]

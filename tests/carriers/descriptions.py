"""The carriers' published interfaces, as they stand in `tests/data/carriers`: what a request and a response may be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator

DIRECTORY: Final = Path(__file__).parent.parent / "data" / "carriers"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. name: method and path with braces; path: what the braces hold in this request."""

    name: str
    path: Mapping[str, str]


class Description:
    """One carrier's interface.

    name: of the file, without its suffix.
    """

    def __init__(self, name: str) -> None:
        document = json.loads((DIRECTORY / f"{name}.json").read_text())
        self.source: Mapping[str, Any] = document["source"]
        self.operations: Mapping[str, Any] = document["operations"]
        self._defs = document["$defs"]
        self._patterns = [(_pattern(name), name) for name in self.operations]
        self._validators: dict[str, Draft202012Validator] = {}

    def find(self, method: str, path: str) -> Operation | None:
        """The operation that a request is for; literal parts of a path win over names in braces."""
        found = [
            Operation(name, matched.groupdict())
            for pattern, name in self._patterns
            if (matched := pattern.fullmatch(f"{method} {path}"))
        ]
        return min(found, key=lambda each: len(each.path), default=None)

    def request_faults(self, operation: Operation, query: Mapping[str, str], body: Any) -> list[str]:
        """What is wrong with a request. body: decoded JSON, or a form as a mapping of texts; None for none."""
        described = self.operations[operation.name]
        faults = self._faults(operation.name, "query", _typed(query, described.get("query")))
        part = "form" if "form" in described else "json"
        if part in described:
            given = _typed(body, described[part]) if part == "form" else body
            return faults + self._faults(operation.name, part, given)
        return faults + ([f"a body that is not described: {body!r}"] if body else [])

    def response_faults(self, operation: Operation, status: int, body: Any) -> list[str]:
        """What is wrong with a response; any operation may answer with an error."""
        if status >= 400:
            return _told(self._validator("error", {"$ref": "#/$defs/error"}), body)
        described = self.operations[operation.name]["responses"]
        if str(status) not in described:
            return [f"status {status} is not described"]
        schema = described[str(status)]
        if schema is None:
            return [] if body is None else ["a body where none is described"]
        return _told(self._validator(f"{operation.name} {status}", schema), body)

    def _faults(self, name: str, part: str, value: Any) -> list[str]:
        schema = self.operations[name].get(part)
        if schema is None:
            return [f"{part} that is not described: {value!r}"] if value else []
        return [f"{part}: {fault}" for fault in _told(self._validator(f"{name} {part}", schema), value)]

    def _validator(self, key: str, schema: Any) -> Draft202012Validator:
        if key not in self._validators:
            self._validators[key] = Draft202012Validator({"$defs": self._defs, "allOf": [schema]})
        return self._validators[key]


def _pattern(name: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", name)
    return re.compile(
        "".join(f"(?P<{part}>[^/]+?)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    )


def _typed(values: Mapping[str, str] | None, schema: Any) -> dict[str, Any]:
    """Texts from a query or a form as the types that the schema gives them, so that it can judge them."""
    properties = (schema or {}).get("properties", {})
    return {name: _value(text, properties.get(name, {})) for name, text in (values or {}).items()}


def _value(text: str, schema: Mapping[str, Any]) -> Any:
    match schema.get("type"):
        case "integer" if re.fullmatch(r"-?[0-9]+", text):
            return int(text)
        case "boolean" if text in {"true", "false", "True", "False"}:
            return text.lower() == "true"
        case "array":
            return text.split(",")
        case _:
            return text


def _told(validator: Draft202012Validator, value: Any) -> Sequence[str] | list[str]:
    return [
        f"{'.'.join(map(str, each.absolute_path)) or 'it'}: {each.message}"
        for each in validator.iter_errors(value)
    ]

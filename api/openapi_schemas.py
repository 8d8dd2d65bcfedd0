"""JSON Schemas of the API's types, as OpenAPI 3.1 wants them (JSON Schema 2020-12)."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from api.types import END, PhoneNumberImport

REFERENCE: Final = "#/components/schemas/{name}"

PATCH_SUFFIX: Final = "Patch"
"""After the name of a schema, as it is in a merge patch."""

_FIELD: Final = re.compile(r"(?:^|; )(\w+(?:, \w+)*): ")


class Schemas:
    """Schemas by name.

    Args:
        requests: types of bodies and queries, which take no unknown fields.
        patches: types that are changed by merge patches.
        responses: other types.

    """

    def __init__(
        self,
        *,
        requests: Iterable[type[Struct]],
        patches: Iterable[type[Struct]],
        responses: Iterable[type[Struct]],
    ) -> None:
        self.components: dict[str, Any] = _components([*responses, PhoneNumberImport])
        closed = _components(requests)
        for name, schema in closed.items():
            self.components[name] = schema | {"additionalProperties": False}
        for name, schema in _components(patches).items():
            self.components[name + PATCH_SUFFIX] = _as_patch(schema)
        batch = self.components.get("ImportRequest")
        if batch is not None:
            # Of anything at all, since a faulty one is reported and leaves the others alone.
            item = {"anyOf": [{"$ref": REFERENCE.format(name="PhoneNumberImport")}, {"type": "object"}]}
            batch["properties"]["items"]["items"] = item

    @staticmethod
    def reference(kind: type[Struct], *, patch: bool = False) -> dict[str, str]:
        """What refers to a type's schema."""
        name = kind.__name__ + (PATCH_SUFFIX if patch else "")
        return {"$ref": REFERENCE.format(name=name)}


def query_parameters(kind: type[Struct]) -> list[dict[str, Any]]:
    """A query's fields as OpenAPI parameters."""
    schema = _components([kind])[kind.__name__]
    parameters = []
    for name, property_ in schema["properties"].items():
        parameter = {"name": name, "in": "query", "required": False, "schema": _without_null(property_)}
        if "description" in property_:
            parameter["description"] = property_["description"]
        parameters.append(parameter)
    return parameters


def _components(kinds: Iterable[type[Struct]]) -> dict[str, Any]:
    kinds = list(kinds)
    _, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    structs = {each.__name__: each for each in Struct.__subclasses__() for each in [each, *_below(each)]}
    return {name: _described(_tidied(schema), structs.get(name)) for name, schema in components.items()}


def _below(kind: type[Struct]) -> list[type[Struct]]:
    return [each for below in kind.__subclasses__() for each in (below, *_below(below))]


def _tidied(schema: Any) -> Any:
    """Patterns without what only Python's `$` needs."""
    if isinstance(schema, dict):
        return {
            name: value.replace(END, "$") if name == "pattern" and isinstance(value, str) else _tidied(value)
            for name, value in schema.items()
        }
    if isinstance(schema, list):
        return [_tidied(each) for each in schema]
    return schema


def _described(schema: dict[str, Any], kind: type[Struct] | None) -> dict[str, Any]:
    """What a docstring says of fields, at the fields."""
    if kind is None or kind.__doc__ is None:
        return schema
    first, _, rest = inspect.cleandoc(kind.__doc__).partition("\n\n")
    schema["description"] = " ".join(first.split())
    properties = schema.get("properties", {})
    names: list[str] = []
    for part in _FIELD.split(" ".join(rest.split()).replace(". ", "; "))[1:]:
        if not names:
            names = part.split(", ")
            continue
        told = part.strip().rstrip(".;")
        for name in names:
            if name in properties:
                properties[name] = {**properties[name], "description": told[:1].upper() + told[1:] + "."}
        names = []
    return schema


def _without_null(property_: dict[str, Any]) -> dict[str, Any]:
    """A query has no null: absent is absent."""
    kept = {name: value for name, value in property_.items() if name != "description"}
    choices = [each for each in kept.get("anyOf", []) if each.get("type") != "null"]
    if len(choices) == 1:
        del kept["anyOf"]
        kept = {**choices[0], **kept}
    if kept.get("default", 0) is None:
        del kept["default"]
    return kept


def _as_patch(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema as a merge patch has it: nothing is required, and null removes."""
    patch = copy.deepcopy(schema)
    patch["title"] = patch.get("title", "") + PATCH_SUFFIX
    required = patch.pop("required", [])
    for name, property_ in patch.get("properties", {}).items():
        property_.pop("default", None)
        _point_to_patches(property_)
        choices = property_.get("anyOf", [])
        if name not in required and {"type": "null"} not in choices:
            rest = {key: property_.pop(key) for key in list(property_) if key != "description"}
            property_["anyOf"] = [*(rest.pop("anyOf", [rest] if rest else [])), {"type": "null"}]
    patch["additionalProperties"] = False
    return patch


def _point_to_patches(schema: Any) -> None:
    """Objects inside are merged, too; those in lists are replaced as a whole."""
    for choice in [schema, *schema.get("anyOf", [])]:
        if "$ref" in choice:
            choice["$ref"] += PATCH_SUFFIX

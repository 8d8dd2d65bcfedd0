"""From what a client sent to typed values; what breaks a rule is told by field, rule and fix."""

from __future__ import annotations

import difflib
import re
import types as builtin_types
import typing
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from api.problems import FieldError, Problem, invalid
from api.types import END

Value = TypeVar("Value")

MAX_DEPTH: Final = 32
"""Of nested objects in a body; ours have four."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
"""Never meant by people, and refused by PostgreSQL."""

_END_AS_TOLD: Final = repr(END)[1:-1]
"""How msgspec quotes what only Python's patterns need."""

_NUMERAL: Final = re.compile(r"-?[0-9]{1,19}")
"""A whole number in a query: not `1e1`, nor `5.0`, which msgspec takes too."""

_PLACE: Final = re.compile(r"^(?P<fault>.*?)(?: - at `(?P<key>key in )?\$(?P<path>.*)`)?$", re.DOTALL)
_RULES: Final = (
    ("missing required field", "required"),
    ("matching regex", "pattern"),
    ("of length", "length"),
    ("Invalid enum value", "enum"),
    ("Expected `int` ", "range"),
)


def parse_json(body: bytes) -> Any:
    """The JSON text of a body. Raises Problem."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("malformed", f"the body is not JSON: {error}") from None


def decode(value: Any, kind: type[Value], *, strict: bool = True, prefix: str = "") -> Value:
    """A typed value.

    value: as JSON has it; strict: False takes numbers and booleans from texts, as in a query.
    prefix: what field names in errors begin with.

    Raises:
        Problem: `invalid`, with every field that is unknown or holds what no text may, or else with the first
            that is of the wrong kind.

    """
    unfit = [*_unknown(value, kind, ""), *_unfit(value, "", 0)]
    if not strict:
        unfit += _no_numerals(value, kind)
    if unfit:
        raise invalid(*(_prefixed(error, prefix) for error in unfit))
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise invalid(_prefixed(_explained(str(error), kind), prefix)) from None


def refuse_unknown(value: Any, kind: type) -> None:
    """Refuse fields that are not known, and texts that no text may hold. Raises Problem."""
    errors = [*_unknown(value, kind, ""), *_unfit(value, "", 0)]
    if errors:
        raise invalid(*errors)


def _prefixed(error: FieldError, prefix: str) -> FieldError:
    return msgspec.structs.replace(error, field=f"{prefix}{error.field}") if prefix else error


def _unknown(value: Any, kind: Any, path: str) -> Iterator[FieldError]:
    """Fields that nobody knows, at every depth, with the nearest that somebody does."""
    if isinstance(value, list):
        inner = _element(kind)
        if inner is not None:
            for index, each in enumerate(value):
                yield from _unknown(each, inner, f"{path}[{index}]")
        return
    struct = _struct(kind)
    if struct is None or not isinstance(value, dict):
        return
    fields = _fields(struct)
    for name, each in value.items():
        place = f"{path}.{name}" if path else str(name)
        if name in fields:
            yield from _unknown(each, fields[name], place)
            continue
        near = difflib.get_close_matches(name, fields, 1)
        fix = f"did you mean {near[0]}?" if near else f"leave it out; known are {', '.join(sorted(fields))}"
        yield FieldError(_shown(place), "unknown", "no such field", fix)


def _unfit(value: Any, path: str, depth: int) -> Iterator[FieldError]:
    """Texts with characters that no text of ours may hold."""
    if depth > MAX_DEPTH:
        yield FieldError(_shown(path), "depth", "nested too deeply", f"nest {MAX_DEPTH} levels at most")
    elif isinstance(value, str):
        if _CONTROL.search(value):
            yield FieldError(_shown(path), "characters", "holds a control character", "remove it")
    elif isinstance(value, dict):
        for name, each in value.items():
            if _CONTROL.search(name):
                yield FieldError(
                    _shown(path) or "body", "characters", "a name holds a control character", "remove it"
                )
            else:
                yield from _unfit(each, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _unfit(each, f"{path}[{index}]", depth + 1)


def _no_numerals(query: Any, kind: type) -> Iterator[FieldError]:
    """Texts of a query that stand for a whole number, and are none."""
    struct = _struct(kind)
    if struct is None or not isinstance(query, dict):
        return
    for name, annotation in _fields(struct).items():
        text = query.get(name)
        if isinstance(text, str) and int in _members(annotation) and not _NUMERAL.fullmatch(text):
            yield FieldError(name, "type", "is no whole number", _fix(kind, name) or "write digits")


def _explained(message: str, kind: Any) -> FieldError:
    """Msgspec's words in ours."""
    found = _PLACE.match(message)
    fault, path = (found["fault"], (found["path"] or "").lstrip(".")) if found else (message, "")
    missing = re.search(r"missing required field `(\w+)`", fault)
    if missing:
        path = f"{path}.{missing[1]}" if path else missing[1]
        detail = "is required"
    else:
        detail = fault[:1].lower() + fault[1:].replace("`", "").replace(_END_AS_TOLD, "$")
    path = path.replace("[...]", "[]")  # keys of an object, that msgspec does not name
    rule = next((rule for text, rule in _RULES if text in fault), "type")
    fix = _fix(kind, path) or _choice(kind, path, fault) or ("add it" if missing else "correct it")
    return FieldError(_shown(path) or "body", rule, detail, fix)


def _shown(path: str) -> str:
    """A path that a client may have made up, fit to be sent back."""
    return _CONTROL.sub("?", path)[:200]


@cache
def _fields(struct: type[msgspec.Struct]) -> dict[str, Any]:
    hints = typing.get_type_hints(struct, include_extras=True)
    return {field.encode_name: hints[field.name] for field in msgspec.structs.fields(struct)}


def _members(kind: Any) -> Iterator[Any]:
    """The types that an annotation stands for, without Annotated and unions around them."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _members(get_args(kind)[0])
    elif origin in (Union, builtin_types.UnionType):
        for each in get_args(kind):
            yield from _members(each)
    else:
        yield kind


def _struct(kind: Any) -> type[msgspec.Struct] | None:
    return next(
        (each for each in _members(kind) if isinstance(each, type) and issubclass(each, msgspec.Struct)), None
    )


def _element(kind: Any) -> Any:
    return next((get_args(each)[0] for each in _members(kind) if get_origin(each) is list), None)


def _metas(kind: Any) -> Iterator[msgspec.Meta]:
    """The metadata at an annotation and inside its unions."""
    origin = get_origin(kind)
    if origin is Annotated:
        base, *extras = get_args(kind)
        yield from (each for each in extras if isinstance(each, msgspec.Meta))
        yield from _metas(base)
    elif origin in (Union, builtin_types.UnionType):
        for each in get_args(kind):
            yield from _metas(each)


def _fix(kind: Any, path: str) -> str:
    """What the field's own description says about mending it."""
    metas = _metas(_at(kind, path))
    return next((meta.extra["fix"] for meta in metas if meta.extra and "fix" in meta.extra), "")


def _choice(kind: Any, path: str, fault: str) -> str:
    """What a field may be, if that is one of a few words."""
    literals = [each for each in _members(_at(kind, path)) if get_origin(each) is Literal]
    words = [str(word) for each in literals for word in get_args(each)]
    if not words:
        return ""
    near = difflib.get_close_matches(fault.rpartition("value '")[2].rstrip("'"), words, 1)
    return f"write {' or '.join(words)}" + (f"; did you mean {near[0]}?" if near else "")


def _at(kind: Any, path: str) -> Any:
    """The annotation at a path."""
    for step in re.findall(r"\w+|\[\d*\]", path):
        struct = _struct(kind)
        if step.startswith("["):
            kind = _element(kind)
        elif struct is not None:
            kind = _fields(struct).get(step)
    return kind


def plain(value: msgspec.Struct) -> Any:
    """A typed value as JSON has it."""
    return msgspec.to_builtins(value)

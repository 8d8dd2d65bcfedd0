"""Reading the carriers' files: TOML in, a `CarrierTable` out, or one sentence about what is wrong."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final, TypeAlias

from gateway.admission.carriers import Carrier, CarriersError, CarrierTable, Network

ENTRY: Final = "trunk"
"""The one kind of table in these files."""

MIN_PASSWORD: Final = 12
"""Characters of a trunk's password: anybody may guess ten times a minute from each address."""

_KNOWN_BY: Final = ("sources", "certificate_names", "username")
"""Of which an entry needs one: what tells its calls from strangers'."""

_Reader: TypeAlias = Callable[[object], Any]


class _FieldError(Exception):
    """What is wrong with one field; whoever knows file and entry puts them in front."""


def load_carriers(paths: Iterable[Path]) -> CarrierTable:
    """Read every file, in order, into one table.

    Raises:
        CarriersError: a file cannot be read, is not TOML, has an unknown key, a wrong value, or repeats what
            another entry has.

    """
    return CarrierTable([carrier for path in paths for carrier in _load(path)])


def _load(path: Path) -> Iterable[Carrier]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CarriersError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CarriersError(f"{path}: not TOML: {error}") from error
    try:
        _refuse_unknown(document, (ENTRY,))
        entries = document.get(ENTRY, [])
        if not (isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)):
            raise _FieldError(f"write [[{ENTRY}]] with two brackets: there can be several")
    except _FieldError as error:
        raise CarriersError(f"{path}: {error}") from None
    for number, entry in enumerate(entries, 1):
        label = f'{ENTRY} "{entry["name"]}"' if isinstance(entry.get("name"), str) else f"{ENTRY} {number}"
        try:
            yield _carrier(entry)
        except _FieldError as error:
            raise CarriersError(f"{path}: {label}: {error}") from None


def _carrier(entry: Mapping[str, object]) -> Carrier:
    _refuse_unknown(entry, _FIELDS)
    if "name" not in entry:
        raise _FieldError("name is missing")
    if not any(key in entry for key in _KNOWN_BY):
        raise _FieldError(
            f"sources is missing (or one of {', '.join(_KNOWN_BY[1:])}): how would it be known?"
        )
    values = {}
    if ("username" in entry) != ("password" in entry or "password_file" in entry):
        raise _FieldError("username: write it and password (or password_file), or neither")
    if "password" in entry and "password_file" in entry:
        raise _FieldError("password: write it or password_file, not both")
    for key, value in entry.items():
        try:
            values[key] = _FIELDS[key](value)
        except _FieldError as error:
            raise _FieldError(f"{key}: {error}") from None
    if "password_file" in values:
        values["password"] = values.pop("password_file")
    carrier = Carrier(**values)
    for network in carrier.sources:
        if network.is_loopback and not carrier.development:
            raise _FieldError(f"sources: {network} is loopback: only development = true may admit that")
    return carrier


def _refuse_unknown(table: Mapping[str, object], known: Iterable[str]) -> None:
    known = tuple(known)
    for key in table:
        if key not in known:
            near = get_close_matches(key, known, 1, cutoff=0.0)[0]
            raise _FieldError(f'unknown key "{key}"; did you mean "{near}"?')


def _text(value: object) -> str:
    if not (isinstance(value, str) and value.strip()):
        raise _FieldError("must be a text")
    return value


def _name(value: object) -> str:
    name = _text(value)
    if not (name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
        raise _FieldError("may hold letters, digits, - and _ only: it is a label of the metrics")
    return name


def _country(value: object) -> str:
    country = _text(value)
    if not (len(country) == 2 and country.isascii() and country.isalpha() and country.isupper()):
        raise _FieldError(f'"{country}" is not an ISO 3166 code such as "US"')
    return country


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _FieldError("must be a list of texts")
    return tuple(_text(item) for item in value)


def _domains(value: object) -> tuple[str, ...]:
    names = tuple(name.lower() for name in _texts(value))
    for name in names:
        if not name.isascii() or any(mark in name for mark in "*@:/ "):
            raise _FieldError(f'"{name}" is not a domain as in sip.example.com; wildcards are not matched')
    return names


def _networks(value: object) -> tuple[Network, ...]:
    if not (isinstance(value, list) and value):
        raise _FieldError("must be a list of addresses or networks, and not empty")
    return tuple(_network(_text(item)) for item in value)


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        nearest = ip_network(text, strict=False)
    except ValueError:
        raise _FieldError(f'"{text}" is not an address or network') from None
    raise _FieldError(f'"{text}" has bits set beyond its prefix; did you mean {nearest}?')


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _FieldError("must be true or false")
    return value


def _rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1_000_000:
        raise _FieldError("must be a number above 0: calls a second")
    return float(value)


def _username(value: object) -> str:
    name = _text(value)
    if not (name.isascii() and name.isprintable() and not set(name) & set('" \\:')):
        raise _FieldError("may hold printable ASCII, without spaces, quotes, colons and backslashes")
    return name


def _password(value: object) -> str:
    password = value if isinstance(value, str) else ""
    if not (len(password) >= MIN_PASSWORD and password.isprintable()):  # not said again: it would be a secret
        raise _FieldError(f"must have at least {MIN_PASSWORD} characters: anybody may try to guess it")
    return password


def _password_file(value: object) -> str:
    path = Path(_text(value))
    try:
        return _password(path.read_text(encoding="utf-8").strip())
    except OSError as error:
        raise _FieldError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _FieldError(f"{path}: not a text") from None


def _srtp(value: object) -> str:
    if value not in ("off", "optional", "required"):
        raise _FieldError("must be off, optional or required")
    return str(value)


def _identity(value: object) -> str:
    if value not in ("off", "record", "require"):
        raise _FieldError("must be off, record or require")
    return str(value)


def _date(value: object) -> date:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise _FieldError("must be a date such as 2026-11-23, without quotes")
    return value


_FIELDS: Final[Mapping[str, _Reader]] = {
    "name": _name,
    "sources": _networks,
    "default_country": _country,
    "media_sources": _networks,
    "call_id_header": _text,
    "passed_headers": _texts,
    "refused_callers": _texts,
    "early_media": _flag,
    "calls_per_second": _rate,
    "certificate_names": _domains,
    "srtp": _srtp,
    "asserted_identity": _flag,
    "identity": _identity,
    "username": _username,
    "password": _password,
    "password_file": _password_file,
    "development": _flag,
    "documentation": _text,
    "checked": _date,
}

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
from gateway.sip.account import MAX_EXPIRES, MIN_EXPIRES, Account
from gateway.sip.uri import SipUri, UriError, parse_uri

ENTRY: Final = "trunk"
"""The one kind of table in these files."""

MIN_PASSWORD: Final = 12
"""Characters of a trunk's password: anybody may guess ten times a minute from each address."""

_KNOWN_BY: Final = ("sources", "certificate_names", "username", "registration")
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
    return _password(_read_secret(value))


def _read_secret(value: object) -> str:
    path = Path(_text(value))
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise _FieldError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _FieldError(f"{path}: not a text") from None


def _registration(value: object) -> Account:
    if not isinstance(value, dict):
        raise _FieldError('write it as { registrar = "sip:…", username = "…", password_file = "…" }')
    _refuse_unknown(value, _REGISTRATION)
    for required in ("registrar", "username"):
        if required not in value:
            raise _FieldError(f"{required} is missing")
    if ("password" in value) == ("password_file" in value):
        raise _FieldError("write password or password_file")
    values = {}
    for key, each in value.items():
        try:
            values["password" if key == "password_file" else key] = _REGISTRATION[key](each)
        except _FieldError as error:
            raise _FieldError(f"{key}: {error}") from None
    return Account(**values)


def _registrar(value: object) -> str:
    uri = _text(value)
    try:
        if isinstance(parse_uri(uri), SipUri):
            return uri
    except UriError:
        pass
    raise _FieldError(f'"{uri}" is not a SIP URI as in sip:sip.example.com;transport=tls')


def _carriers_password(value: object) -> str:
    """One that the carrier gave, however short it is."""
    if not (isinstance(value, str) and value and value.isprintable()):
        raise _FieldError("must be a text")
    return value


def _carriers_password_file(value: object) -> str:
    return _carriers_password(_read_secret(value))


def _expires(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not MIN_EXPIRES <= value <= MAX_EXPIRES:
        raise _FieldError(f"must be {MIN_EXPIRES:g} to {MAX_EXPIRES} seconds")
    return value


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


_REGISTRATION: Final[Mapping[str, _Reader]] = {
    "registrar": _registrar,
    "username": _username,
    "password": _carriers_password,
    "password_file": _carriers_password_file,
    "domain": _text,
    "expires": _expires,
}

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
    "registration": _registration,
    "development": _flag,
    "documentation": _text,
    "checked": _date,
}

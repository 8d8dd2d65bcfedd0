"""Numbers and agents as another deployment of the API tells them.

It may be newer than this one: what is not known is passed over, and what cannot be used is told, so that
whoever asked keeps what there was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from routing.cache import Kind, encode
from routing.endpoint_rules import WITHHELD, faults
from routing.models import Agent, PhoneNumber
from routing.numbering import E164

MAX_KEY: Final = 64
"""Characters of a number or of an agent's id."""

TAKES_CALLS: Final = "wiring"
"""What a carrier is being asked to do with a number that takes calls meanwhile."""

MAX_TEXT: Final = 5_000
"""Characters of a message: somebody would have to listen to it."""


class NonsenseError(Exception):
    """Not what the API answers; the message says how."""


@dataclass(frozen=True, slots=True)
class Told:
    """One record.

    key: E.164 of a number, id of an agent.
    value: as the cache holds it; None when it should not hold it, or when it cannot be used.
    updated_at: seconds since the epoch; None if not told.
    fault: why it cannot be used; empty if it can.
    withheld: names of headers whose values the API does not give away; the agent is used without them.
    """

    key: str
    value: bytes | None
    updated_at: float | None = None
    fault: str = ""
    withheld: tuple[str, ...] = ()


def read(kind: Kind, record: Any) -> Told:
    """Read a record. Raises NonsenseError when not even its key can be told."""
    name = "phone_number" if kind == "number" else "id"
    key = record.get(name) if isinstance(record, dict) else None
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY:
        raise NonsenseError(f"there is a record without {name}")
    fields = {field: value for field, value in record.items() if value is not None}
    updated_at = _time(fields.get("updated_at"))
    try:
        if kind == "number":
            return Told(key, _number(key, fields), updated_at)
        withheld, agent = _agent(key, fields)
        return Told(key, agent, updated_at, withheld=withheld)
    except (msgspec.ValidationError, ValueError) as error:
        return Told(key, None, updated_at, f"{key}: {error}")


def _number(key: str, fields: dict[str, Any]) -> bytes | None:
    """A number as the cache holds it; None while a carrier is still being asked for it."""
    if not E164.fullmatch(key):
        raise ValueError("phone_number is not E.164")
    if (provisioning := fields.pop("provisioning", None)) is not None:
        if not (isinstance(provisioning, dict) and provisioning.get("state") == TAKES_CALLS):
            return None
        fields["status"] = "active"
    number = msgspec.convert({"id": f"phn_{key[1:]}", **fields}, PhoneNumber)
    routing = number.inbound_routing
    _check_text(routing.voicemail_message if routing else None)
    return encode(number)


def _agent(key: str, fields: Mapping[str, Any]) -> tuple[tuple[str, ...], bytes]:
    agent = msgspec.convert({"name": key, **fields}, Agent)
    _check_text(agent.voicemail_message)
    withheld: list[str] = []
    endpoints = []
    for endpoint in agent.endpoints:
        for field, fault in faults(endpoint):
            raise ValueError(f"{field} {fault}")
        kept = {name: value for name, value in endpoint.headers.items() if value != WITHHELD}
        withheld += endpoint.headers.keys() - kept.keys()
        token = endpoint.auth_token
        if token == WITHHELD:
            withheld.append("auth_token")
            token = None
        endpoints.append(msgspec.structs.replace(endpoint, headers=kept, auth_token=token))
    return tuple(sorted(withheld)), encode(msgspec.structs.replace(agent, endpoints=tuple(endpoints)))


def _check_text(text: str | None) -> None:
    if text is not None and len(text) > MAX_TEXT:
        raise ValueError(f"voicemail_message is longer than {MAX_TEXT} characters")


def _time(text: Any) -> float | None:
    """Seconds since the epoch of an RFC 3339 time; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def rfc3339(seconds: float) -> str:
    """A time as the API takes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""What carriers tell by webhook, of what concerns us: read from their bodies, whatever these hold."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

MAX_FIELDS: Final = 100
"""Of a form: Twilio sends about ten."""

MAX_WORD: Final = 128
"""Characters of what is taken from an event."""

ORDER_COMPLETE: Final = "number_order.complete"

ALARMS: Final[Mapping[str, str]] = {
    "32010": "no origination URI of the trunk is in order: voice-gateway carriers setup twilio",
    "32011": "a node did not answer Twilio in time, or with an error: see the node's log, and its firewall",
}
"""Twilio's codes of trunks that do not work (twilio.com/docs/api/errors), with what to do."""


class Unreadable(Exception):  # noqa: N818 - it says what the body is
    """A body that is not what the carrier sends."""


@dataclass(frozen=True, slots=True)
class CarrierEvent:
    """Something that happened at a carrier.

    identity: of the event, the same when it is sent again; kind: as the carrier calls it.
    code: of an alarm, digits; None for what is none.
    order: id of a number order; reference: what we called it; status: of the order.
    """

    identity: str
    kind: str
    code: str | None = None
    level: str | None = None
    resource: str | None = None
    order: str | None = None
    reference: str | None = None
    status: str | None = None


def read_form(body: bytes) -> list[tuple[str, str]]:
    """A form's fields in order. Raises Unreadable."""
    try:
        return parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, strict_parsing=True
        )
    except (UnicodeDecodeError, ValueError):
        raise Unreadable("no form") from None


def of_twilio(form: list[tuple[str, str]]) -> CarrierEvent:
    """A debugger event: Sid, Level and a Payload in JSON. Raises Unreadable."""
    fields = dict(form)
    payload = _decoded(fields.get("Payload") or "{}")
    code = str(payload.get("error_code") or fields.get("ErrorCode") or "")
    return CarrierEvent(
        identity=_word(fields.get("Sid")),
        kind="debugger",
        code=code if re.fullmatch(r"[0-9]{1,6}", code) else None,
        level=_word(fields.get("Level")) or None,
        resource=_word(payload.get("resource_sid")) or None,
    )


def of_telnyx(body: bytes) -> CarrierEvent:
    """An event by its `data.event_type`; which fields it has depends on that. Raises Unreadable."""
    data = _mapping(_decoded(body).get("data"))
    payload = _mapping(data.get("payload"))
    is_order = str(data.get("event_type", "")).startswith("number_order.")
    return CarrierEvent(
        identity=_word(data.get("id")),
        kind=_word(data.get("event_type")),
        order=_word(payload.get("id")) or None if is_order else None,
        reference=_word(payload.get("customer_reference")) or None if is_order else None,
        status=_word(payload.get("status")) or None if is_order else None,
    )


def _decoded(text: str | bytes) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(text))
    except (ValueError, RecursionError):
        raise Unreadable("no JSON") from None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _word(value: Any) -> str:
    """A short text for logs and comparisons; empty for anything else."""
    if not isinstance(value, str) or len(value) > MAX_WORD or not value.isprintable():
        return ""
    return value

"""What an endpoint must be like beyond having the right types, whoever describes it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Final

from routing.models import REGION_PATTERN, Endpoint

SCHEMES: Final = ("sip", "sips", "ws", "wss")

PROTOCOLS: Final = ("twilio", "telnyx", "openai-realtime")
"""Spoken on a WebSocket."""

OPTIONS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "twilio": {},
    "telnyx": {"encoding": ("PCMU", "PCMA", "L16"), "sample_rate": ("8000", "16000")},
    "openai-realtime": {
        "format": ("pcmu", "pcma", "pcm"),
        "greeting": ("true", "false"),
        "voice": (),
        "instructions": (),
    },
}
"""By protocol, what it lets one choose, and from what; empty for any text."""

SIP_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "srtp": ("off", "optional", "required", "dtls"),
    "auth_username": (),
}
"""The same for SIP."""

MAX_RANK: Final = 65_535
"""Of priority and weight, as in DNS SRV (RFC 2782)."""

MAX_CALLS: Final = 1_000_000
"""More than any endpoint takes, and far from what does not fit into 64 bits."""

WITHHELD: Final = "••••"
"""What the API shows in place of a header's value that it does not give away."""

_URL: Final = re.compile(r"(?P<scheme>[A-Za-z]+):(?P<rest>[^\s\x00-\x20\x7f]+)")

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
"""RFC 3261 §25.1, token."""

_REGION: Final = re.compile(REGION_PATTERN)

_PASSWORD: Final = re.compile(r"(?<=:)(//)?[^@/?\s]*:[^@/?\s]*@")
_VALUES: Final = re.compile(r"(?<==)[^&;]*")

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
"""A line break in a header's value would begin another header."""


def faults(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    """Fields that make no sense, each with what to do about it."""
    url = _URL.fullmatch(endpoint.url)
    if url is None or url["scheme"].lower() not in SCHEMES or not url["rest"].strip("/"):
        yield (
            "url",
            "must be sip:, sips:, ws: or wss: and an address without spaces, as in sip:bot@192.0.2.10:5060",
        )
    if endpoint.protocol is not None and endpoint.protocol not in PROTOCOLS:
        near = difflib.get_close_matches(endpoint.protocol, PROTOCOLS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        yield "protocol", f"must be one of {', '.join(PROTOCOLS)}{hint}"
    yield from _stream_faults(endpoint)
    if not 0 <= endpoint.priority <= MAX_RANK:
        yield "priority", f"must be 0 to {MAX_RANK}; lower is tried first"
    if not 1 <= endpoint.weight <= MAX_RANK:
        yield "weight", f"must be 1 or more, {MAX_RANK} at most; to take an endpoint out of use, remove it"
    if endpoint.max_calls is not None and not 0 <= endpoint.max_calls <= MAX_CALLS:
        yield "max_calls", f"must be 0 or more, {MAX_CALLS} at most; leave it out for no limit"
    if endpoint.region is not None and not _REGION.fullmatch(endpoint.region):
        yield (
            "region",
            "must be 1 to 32 small letters, digits and hyphens, as in eu-west; leave it out for none",
        )
    for name, value in endpoint.headers.items():
        if not _HEADER_NAME.fullmatch(name):
            yield "headers", f"{name!r} is no name of a header: use letters, digits and hyphens"
        if _CONTROL.search(value):
            yield "headers", f"the value of {name!r} holds a line break or control character: remove it"


def _stream_faults(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    """Of what only WebSockets have."""
    if endpoint.is_sip:
        if endpoint.protocol:
            yield "protocol", "is for ws: and wss: only; remove it"
        if endpoint.auth_token is not None and not endpoint.username:
            yield "auth_token", "needs a username: a user in the URL, or the option auth_username"
        yield from _token_faults(endpoint)
        yield from _option_faults(endpoint, "SIP", SIP_OPTIONS)
        return
    protocol = endpoint.protocol or "twilio"
    yield from _option_faults(endpoint, protocol, OPTIONS.get(protocol, {}))
    if endpoint.options.get("sample_rate") == "16000" and endpoint.options.get("encoding") != "L16":
        yield "options", "sample_rate 16000 goes with encoding L16; G.711 has 8000"
    yield from _token_faults(endpoint)


def shown_url(url: str) -> str:
    """An endpoint's URL without what may be secret in it: a password, and values of its query."""
    place, mark, query = url.partition("?")
    if place.count(":", 0, place.rfind("@") + 1) > 1:  # sip:user:password@, https://user:password@
        place = _PASSWORD.sub(rf"\1{WITHHELD}@", place)
    return place + mark + _VALUES.sub(WITHHELD, query) if mark else place


def _token_faults(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    if endpoint.auth_token is not None and _CONTROL.search(endpoint.auth_token):
        yield "auth_token", "holds a line break or control character: remove it"


def _option_faults(
    endpoint: Endpoint, protocol: str, known: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, str]]:
    for name, value in endpoint.options.items():
        choices = known.get(name)
        if choices is None:
            there = ", ".join(known) or "none"
            yield "options", f"{name!r} is no option of {protocol}, which has {there}"
        elif choices and value not in choices:
            yield "options", f"{name} must be one of {', '.join(choices)}"

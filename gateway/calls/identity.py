"""Who calls whom, read from an INVITE; nothing else of it ever reaches an agent."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.sip.grammar import SipParseError
from gateway.sip.message import Request
from gateway.sip.uri import SipUri, TelUri, parse_uri

DEFAULT_MAX_FORWARDS = 70
"""RFC 3261 §8.1.1.6, for an INVITE without one."""

MAX_PASSED_HEADERS = 64
"""Headers of a carrier's that an agent gets to see; Twilio and Telnyx send a handful."""

MAX_PASSED_LENGTH = 1024
"""Characters of one of them, name and value; a longer one is left out, as half of a value would mislead."""

MAX_NUMBER = 256
"""Characters of who calls or is called; a longer text is nobody's number."""


def dialled_number(request: Request) -> str:
    """The Request-URI's user as the carrier wrote it, without its parameters; empty if there is none."""
    return _number(request.uri)


def caller_number(request: Request) -> str:
    """The user in From, empty if there is none; ``anonymous`` when the number is withheld (RFC 3323)."""
    return _number(request.from_.uri)


def passed_headers(request: Request, prefixes: Sequence[str]) -> list[tuple[str, str]]:
    """The carrier's own headers, in order, the first `MAX_PASSED_HEADERS` that are not overlong.

    prefixes: of the names, e.g. ``X-Twilio-``; case does not matter.
    """
    wanted = tuple(prefix.lower() for prefix in prefixes)
    if not wanted:
        return []
    passed = [
        (name, value)
        for name, value in request.headers.items()
        if name.lower().startswith(wanted) and len(name) + len(value) <= MAX_PASSED_LENGTH
    ]
    return passed[:MAX_PASSED_HEADERS]


def max_forwards(request: Request) -> int:
    """Hops that the request may still take."""
    try:
        hops = request.max_forwards
    except SipParseError:
        return DEFAULT_MAX_FORWARDS
    return DEFAULT_MAX_FORWARDS if hops is None else hops


def _number(text: str) -> str:
    try:
        uri = parse_uri(text)
    except SipParseError:
        return ""
    match uri:
        case SipUri():
            number = uri.user_unescaped.partition(";")[0]
        case TelUri():
            number = uri.number
        case _:
            return ""
    return number if len(number) <= MAX_NUMBER else ""

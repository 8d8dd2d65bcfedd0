"""Who calls whom, read from an INVITE; nothing else of it ever reaches an agent."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.sip.grammar import SipParseError
from gateway.sip.message import Request
from gateway.sip.uri import SipUri, TelUri, parse_uri

DEFAULT_MAX_FORWARDS = 70
"""RFC 3261 §8.1.1.6, for an INVITE without one."""


def dialled_number(request: Request) -> str:
    """The Request-URI's user as the carrier wrote it, without its parameters; empty if there is none."""
    return _number(request.uri)


def caller_number(request: Request) -> str:
    """The user in From, empty if there is none; ``anonymous`` when the number is withheld (RFC 3323)."""
    return _number(request.from_.uri)


def passed_headers(request: Request, prefixes: Sequence[str]) -> list[tuple[str, str]]:
    """The carrier's own headers, in order.

    prefixes: of the names, e.g. ``X-Twilio-``; case does not matter.
    """
    wanted = tuple(prefix.lower() for prefix in prefixes)
    if not wanted:
        return []
    return [(name, value) for name, value in request.headers.items() if name.lower().startswith(wanted)]


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
            return uri.user_unescaped.partition(";")[0]
        case TelUri():
            return uri.number
    return ""

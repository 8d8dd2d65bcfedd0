"""Who calls whom, read from an INVITE; nothing else of it ever reaches an agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.sip.grammar import SipParseError
from gateway.sip.headers import NameAddr
from gateway.sip.message import Request
from gateway.sip.uri import SipUri, TelUri, parse_uri

DEFAULT_MAX_FORWARDS = 70
"""RFC 3261 §8.1.1.6, for an INVITE without one."""

MAX_PASSED_HEADERS = 64
"""Headers of a carrier's that an agent gets to see; Twilio and Telnyx send a handful."""

MAX_PASSED_LENGTH = 1024
"""Characters of one of them, name and value; a longer one is left out, as half of a value would mislead."""

ANONYMOUS = "anonymous"
"""The user in From when the caller's number is withheld (RFC 3323 §4.1.1.3)."""

PRIVATE = frozenset({"id", "user", "header"})
"""Values of Privacy by which a caller withholds its identity (RFC 3323 §4.2, RFC 3325 §9.3)."""

TELLING = frozenset(
    {
        "P-Asserted-Identity",
        "P-Preferred-Identity",
        "Remote-Party-ID",
        "Identity",
        "Call-Info",
        "Contact",
        "From",
    }
)
"""Headers that tell who calls."""

MAX_NUMBER = 256
"""Characters of who calls or is called; a longer text is nobody's number."""


def dialled_number(request: Request, account: str = "") -> str:
    """The Request-URI's user as the carrier wrote it, without its parameters; empty if there is none.

    account: the user of our Contact where we have registered; a call to it tells what was dialled in To.
    """
    number = _number(request.uri)
    if account and number == account:
        try:
            return _number(request.to.uri)
        except SipParseError:
            return number
    return number


def caller_number(request: Request) -> str:
    """The user in From, empty if there is none; ``anonymous`` when the number is withheld (RFC 3323)."""
    return _number(request.from_.uri)


class CallerIdentity(NamedTuple):
    """Who calls.

    number: for everybody to see: as in From; ``anonymous`` when it is withheld.
    asserted: the number that a trusted carrier vouches for (RFC 3325); empty if none does.
    withheld: the caller does not want to be known (RFC 3323, RFC 3325 §9.3).
    """

    number: str
    asserted: str = ""
    withheld: bool = False


def caller_identity(request: Request, *, trusted: bool) -> CallerIdentity:
    """Who calls, as far as it may be believed and told.

    trusted: whether the sender's P-Asserted-Identity is believed.
    """
    headers = request.headers
    number = caller_number(request)
    asserted = ""
    if trusted and headers.get("P-Asserted-Identity") is not None:
        asserted = _asserted(request)
    wanted = headers.get("Privacy")
    if wanted is None:
        return CallerIdentity(number or asserted, asserted, number == ANONYMOUS)
    tokens = {token.strip().lower() for token in wanted.replace(",", ";").split(";")}
    if number != ANONYMOUS and tokens.isdisjoint(PRIVATE):
        return CallerIdentity(number or asserted, asserted)
    return CallerIdentity(ANONYMOUS, asserted, withheld=True)


def _asserted(request: Request) -> str:
    """The first P-Asserted-Identity that has a number (RFC 3325 §9.1: a sip and a tel URI at most)."""
    try:
        for value in request.headers.values("P-Asserted-Identity"):
            number = _number(NameAddr.parse(value).uri)
            if number and number != ANONYMOUS:
                return number
    except SipParseError:
        return ""
    return ""


def passed_headers(
    request: Request, prefixes: Sequence[str], *, withheld: bool = False
) -> list[tuple[str, str]]:
    """The carrier's own headers, in order, the first `MAX_PASSED_HEADERS` that are not overlong.

    prefixes: of the names, e.g. ``X-Twilio-`` or ``Diversion``; case does not matter.
    withheld: leave out what tells who the caller is, whatever is listed.
    """
    wanted = tuple(prefix.lower() for prefix in prefixes)
    if not wanted:
        return []
    passed = [
        (name, value)
        for name, value in request.headers.items()
        if name.lower().startswith(wanted)
        and len(name) + len(value) <= MAX_PASSED_LENGTH
        and not (withheld and name in TELLING)
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

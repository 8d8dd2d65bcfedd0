"""Header names: compact forms and any case, to the one spelling used here (RFC 3261 §7.3.3)."""

from __future__ import annotations

from typing import Final

COMPACT: Final = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}

_LONG: Final = [
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Alert-Info",
    "Allow",
    "Authentication-Info",
    "Authorization",
    "Call-Info",
    "Content-Disposition",
    "Content-Language",
    "CSeq",
    "Date",
    "Diversion",
    "Error-Info",
    "Expires",
    "History-Info",
    "In-Reply-To",
    "Max-Forwards",
    "Min-Expires",
    "Min-SE",
    "MIME-Version",
    "Organization",
    "P-Asserted-Identity",
    "P-Charge-Info",
    "P-Early-Media",
    "P-Preferred-Identity",
    "Path",
    "Priority",
    "Privacy",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Require",
    "RAck",
    "Reason",
    "Record-Route",
    "Refer-Sub",
    "Remote-Party-ID",
    "Replaces",
    "Reply-To",
    "Require",
    "Retry-After",
    "Route",
    "RSeq",
    "Server",
    "Service-Route",
    "Subscription-State",
    "Timestamp",
    "Unsupported",
    "User-Agent",
    "Warning",
    "WWW-Authenticate",
    "X-Telnyx-Leg-ID",
    "X-Telnyx-Session-ID",
    "X-Twilio-AccountSid",
    "X-Twilio-CallSid",
    "X-Twilio-VerStat",
    "X-Agent-Id",
    "X-Call-Id",
    "X-Dialled-Number",
]

SINGLE: Final = frozenset(
    {"From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length", "Content-Type", "Expires", "Date"}
)
"""Headers that may stand once only: a second one makes the message ambiguous (§7.3.1, RFC 4475 §3.3.8)."""


def _spellings() -> dict[str, str]:
    table: dict[str, str] = {}
    for short, name in COMPACT.items():
        for spelling in (short, short.upper(), name, name.lower(), name.upper()):
            table[spelling] = name
    for name in _LONG:
        for spelling in (name, name.lower(), name.upper()):
            table[spelling] = name
    return table


CANONICAL: Final = _spellings()
"""Usual spellings to canonical names, so that one lookup settles nearly every header."""


CANONICAL_NAMES: Final = frozenset(CANONICAL.values())

LOWER_CASE: Final = {spelling: name for spelling, name in CANONICAL.items() if spelling == spelling.lower()}
"""The same from lower case alone, for the parser in C, which compares names without regard to case."""


def canonical_name(name: str) -> str:
    """The one spelling of a known header's name; an unknown one as it was written."""
    known = CANONICAL.get(name)
    if known is not None:
        return known
    return CANONICAL.get(name.lower(), name)

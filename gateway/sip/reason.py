"""Why a request was sent: the Reason header (RFC 3326), read from one peer and told to the other."""

from __future__ import annotations

import re
from typing import Final

MAX_REASON_TEXT: Final = 120
"""Characters of its text that are passed on; carriers and agents write a phrase."""

# reason-value = protocol *(SEMI reason-params); only what the RFC defines passes, so that nothing else does.
_REASON: Final = re.compile(
    r'\s*(SIP|Q\.850)\s*;\s*cause\s*=\s*(\d{1,3})\s*(?:;\s*text\s*=\s*"([^"\\]*)")?', re.IGNORECASE
)

_ADDRESS: Final = re.compile(r"\w[.:@]\w|::")
"""In a text: an address, a host or a URI; where a peer is, the other side is not told."""


def passed_reason(value: str | None) -> str | None:
    """A peer's Reason as the other side may see it: protocol, cause and a text without addresses.

    None if it makes no sense.
    """
    found = _REASON.match(value or "")
    if found is None:
        return None
    protocol, cause, text = found.groups()
    told = "".join(character for character in (text or "") if character.isprintable())[:MAX_REASON_TEXT]
    if _ADDRESS.search(told) is not None:
        told = ""
    return f"{protocol.upper()};cause={int(cause)}" + (f';text="{told}"' if told else "")

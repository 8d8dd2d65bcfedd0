"""Who really sent a request that an edge proxy of ours passed on: the address in ``X-Edge-Source``.

The edge takes every such header out of what it receives and writes one of its own, so that two of them mean
an edge which does not, and then none is believed. Looked for in bytes, like all that decides who is heard.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.sip.addresses import is_ip_literal

EDGE_SOURCE: Final = "X-Edge-Source"
"""The header's name; its value is an IP literal, IPv6 with or without brackets."""

_NAMED: Final = re.compile(rb"[\r\n]" + EDGE_SOURCE.encode() + rb"[ \t]*:([^\r\n]*)", re.IGNORECASE)
"""One such header. Where headers end is not asked: edge and gateway might disagree about it, and a body that
has such a line as well is nobody's honest session description."""


def named_source(data: bytes) -> str | None:
    """The IP literal that a request's edge names, IPv6 without brackets; None if it names none or several."""
    found = _NAMED.findall(data)
    return as_source(found[0].decode("ascii", "replace")) if len(found) == 1 else None


def as_source(value: str) -> str | None:
    """The IP literal that is such a header's value; None for anything else."""
    host = value.strip(" \t").removeprefix("[").removesuffix("]")
    return host if is_ip_literal(host) else None

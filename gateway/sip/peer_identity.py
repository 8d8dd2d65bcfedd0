"""Who a verified certificate says its owner is, as SIP reads it (RFC 5922 §7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_NAMES = 64
"""Names of one certificate that are looked at; a carrier's has a handful."""


def certificate_names(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """The domains that a certificate vouches for, in lower case.

    A SIP URI among its alternative names decides, if there is one; else the DNS names do. The common name
    counts for nothing, and a wildcard is a name like others, which no carrier has: §7.2 forbids to match it.

    certificate: as `ssl.SSLSocket.getpeercert` returns it; empty where none was shown.
    """
    alternatives = certificate.get("subjectAltName", ())[:MAX_NAMES]
    domains = [
        value[4:].lower() for kind, value in alternatives if kind == "URI" and value[:4].lower() == "sip:"
    ]
    # With a user part it names a person and not a domain.
    domains = [domain for domain in domains if domain and "@" not in domain]
    if not domains:
        domains = [value.lower() for kind, value in alternatives if kind == "DNS"]
    return tuple(domains)

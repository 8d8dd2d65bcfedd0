"""What TLS connections are made with, and what is said of one that fails."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from gateway.sip.icmp import reason_of


def _untold(peer: str, reason: str) -> None:
    """What happens to failures that nobody asked for."""


@dataclass(slots=True)
class Tls:
    """The contexts of connections that begin from now on; replaced when certificates are renewed.

    client: for connections of ours. Peers are verified, by the name that the URI gave them.
    server: for those that peers open; None where there is no certificate, and then none are accepted.
    on_failure: told of a handshake that came to nothing, by its peer (a domain or an address) and the reason:
        one of ours, or of an address that is admitted. Strangers' are counted only.
    """

    client: ssl.SSLContext
    server: ssl.SSLContext | None = None
    on_failure: Callable[[str, str], None] = _untold


def fault_of(error: OSError) -> str:
    """A transport's error in the words of the log."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}"
    return reason_of(error.errno)

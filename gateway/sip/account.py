"""An account at a carrier, as the carriers' files describe it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gateway.sip.uri import SipUri, parse_uri

MIN_EXPIRES: Final = 30.0
"""Seconds; a registrar that grants less is asked for that much, and not more often than twice in it."""

MAX_EXPIRES: Final = 86_400
"""Seconds that we ask for at a registrar's word (423)."""


@dataclass(frozen=True, slots=True)
class Account:
    """What is registered.

    registrar: a SIP URI, with its transport.
    username, password: of the account; the username is the user of our Contact, too.
    domain: of the address of record; empty for the registrar's host.
    expires: seconds to ask for.
    """

    registrar: str
    username: str
    password: str = field(repr=False)
    domain: str = ""
    expires: int = 600

    @property
    def over_tls(self) -> bool:
        """Whether the registrar is reached by TLS."""
        uri = self.registrar.lower()
        return uri.startswith("sips:") or "transport=tls" in uri

    @property
    def address(self) -> str:
        """The address of record, a name-addr. Raises UriError for a registrar that is no SIP URI."""
        target = parse_uri(self.registrar)
        host = self.domain or (target.host if isinstance(target, SipUri) else "")
        scheme = "sips" if self.registrar[:5].lower() == "sips:" else "sip"
        return f"<{scheme}:{self.username}@{host}>"

"""Where agents may send their callers by REFER, and what a Refer-To means here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias
from urllib.parse import unquote

from gateway.destinations.remote_control import Target
from gateway.destinations.transfers import Refused
from gateway.sip.grammar import FORBIDDEN, SipParseError, is_token
from gateway.sip.message import Request
from gateway.sip.referral import Referral
from gateway.sip.uri import SipUri, TelUri, parse_uri
from routing.models import PhoneNumber
from routing.numbering import normalise
from routing.plan import Agents

Scope: TypeAlias = Literal["off", "own", "any"]

MAX_REPLACES = 512
"""Characters of a Replaces that is passed on: a Call-ID and two tags."""


class TransferRules:
    """Fulfils `gateway.destinations.transfers.Transfers`.

    Args:
        scope: ``off``; ``own``: agents and numbers of this gateway, and agents' endpoints; ``any`` SIP URI.
        hosts: hosts of SIP URIs that are allowed besides; ``*.example.com`` for all below it.
        agents: by id, as they are now; endpoints: their URLs, likewise.
        number: what this node knows of an E.164 number.

    """

    def __init__(
        self,
        scope: Scope,
        hosts: Sequence[str],
        agents: Callable[[], Agents],
        endpoints: Callable[[], Iterable[str]],
        number: Callable[[str], PhoneNumber | None],
    ) -> None:
        self._scope = scope
        self._hosts = tuple(host.lower() for host in hosts)
        self._agents = agents
        self._endpoints = endpoints
        self._number = number

    def judge(self, refer: Request, referral: Referral) -> Target | Refused:
        """See `Transfers`."""
        if self._scope == "off":
            return Refused(603, "Transfers Are Switched Off")
        try:
            uri = parse_uri(referral.target.uri)
        except SipParseError:
            return Refused(400, "Bad Refer-To")
        match uri:
            case TelUri():
                return self._to_number(uri.number) or Refused(403, "No Number of This Gateway")
            case SipUri():
                return self._to_sip(uri, refer)
        return Refused(403, "Only Agents, Numbers and SIP URIs")

    def _to_number(self, text: str) -> Target | None:
        number = normalise(text)
        return Target(number=number) if number is not None and self._number(number) is not None else None

    def _to_sip(self, uri: SipUri, refer: Request) -> Target | Refused:
        user = uri.user_unescaped
        replaces = _replaces(uri)
        if isinstance(replaces, Refused):
            return replaces
        if replaces is None and self._agents().get(user) is not None:
            return Target(agent_id=user)
        found = self._to_number(user) if replaces is None and user else None
        if found is not None:
            return found
        if not self._may_reach(uri):
            return Refused(403, "Not Among Those to Whom Transfers Are Allowed")
        headers = [("Referred-By", value)] if (value := refer.headers.get("Referred-By")) else []
        if replaces is not None:
            headers.append(("Replaces", replaces))
        plain = SipUri(uri.scheme, uri.user, None, uri.host, uri.port, _without_method(uri))
        return Target(uri=str(plain), headers=tuple(headers))

    def _may_reach(self, uri: SipUri) -> bool:
        host = uri.host.lower()
        if self._scope == "any" or any(_matches(host, pattern) for pattern in self._hosts):
            return True
        # Compared as text first: there may be thousands, and a transfer must not hold other calls up.
        return any(host in endpoint.lower() and _same_place(uri, endpoint) for endpoint in self._endpoints())


def _matches(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _same_place(uri: SipUri, endpoint: str) -> bool:
    """Whether a URI is an agent's endpoint: its address, whatever the parameters (RFC 3261 §19.1.4)."""
    try:
        known = parse_uri(endpoint)
    except SipParseError:
        return False
    if not isinstance(known, SipUri):
        return False
    return (known.user_unescaped, known.host.lower(), known.port) == (
        uri.user_unescaped,
        uri.host.lower(),
        uri.port,
    )


def _without_method(uri: SipUri) -> tuple[tuple[str, str | None], ...]:
    return tuple(param for param in uri.params if param[0] != "method")


def _replaces(uri: SipUri) -> str | Refused | None:
    """The dialog that the transfer takes the place of (RFC 3891), from the Refer-To's headers."""
    params = dict(uri.params)
    if (params.get("method") or "INVITE").upper() != "INVITE":
        return Refused(403, "Only an INVITE Can Be Asked For")
    for header in uri.headers.split("&"):
        name, _, value = header.partition("=")
        if name.lower() == "replaces":
            text = unquote(value)
            call_id, *rest = text.split(";")
            names = {part.partition("=")[0].strip().lower() for part in rest}
            well = FORBIDDEN.search(text) is None and all(
                is_token(part.replace("=", "").strip()) for part in rest
            )
            if len(text) > MAX_REPLACES or not call_id or not well or not {"to-tag", "from-tag"} <= names:
                return Refused(400, "Bad Replaces in Refer-To")
            return text
    return None

"""A dialog: what both sides of a call agreed on to find each other again (RFC 3261 §12)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from gateway.sip.grammar import SipParseError
from gateway.sip.headers import NameAddr
from gateway.sip.message import Message, Request, Response
from gateway.sip.remembering import remember
from gateway.sip.request_writer import RequestWriter
from gateway.sip.uri import SipUri, parse_uri

MAX_ROUTES = 30
"""Proxies between us and a peer. Carriers have three; a longer set attacks the size of our requests."""

KNOWN_ROUTERS = 4096
"""Route values whose parts are remembered: a carrier's proxies are mostly the same in every call. 2 MB.
Full, the table is emptied."""

MAX_KNOWN_ROUTER = 256
"""Characters of one that is remembered."""


class Dialog:
    """The dialog state of §12: identifiers, sequence numbers, the peer's target and the way there.

    Attributes:
        call_id: the Call-ID.
        local, remote: our and the peer's From or To value, tags included.
        local_tag, remote_tag: their tags; the remote one is empty for a peer of RFC 2543.
        local_cseq, remote_cseq: the last CSeq number each side used; 0 and None before the first.
        remote_target: the URI of the peer's Contact.
        routes: the Route values towards the peer, in order.

    """

    __slots__ = (
        "call_id",
        "local",
        "local_cseq",
        "local_tag",
        "remote",
        "remote_cseq",
        "remote_tag",
        "remote_target",
        "routes",
    )

    def __init__(
        self,
        call_id: str,
        *,
        local: str,
        remote: str,
        local_tag: str,
        remote_tag: str,
        local_cseq: int,
        remote_cseq: int | None,
        remote_target: str,
        routes: Sequence[str],
    ) -> None:
        self.call_id = call_id
        self.local = local
        self.remote = remote
        self.local_tag = local_tag
        self.remote_tag = remote_tag
        self.local_cseq = local_cseq
        self.remote_cseq = remote_cseq
        self.remote_target = remote_target
        self.routes = tuple(routes)

    @staticmethod
    def answering(request: Request, local_tag: str) -> Dialog:
        """The dialog of an INVITE that came to us (§12.1.1): routes in the order of its Record-Route.

        Raises SipParseError (400) for a Contact or Record-Route that cannot be read.
        """
        headers = request.headers
        return Dialog(
            request.call_id,
            local=f"{headers.get('To')};tag={local_tag}",
            remote=headers.get("From") or "",
            local_tag=local_tag,
            remote_tag=request.from_tag or "",
            local_cseq=0,
            remote_cseq=request.cseq,
            remote_target=_contact(request) or request.from_.uri,
            routes=_record_routes(request),
        )

    @staticmethod
    def calling(invite: RequestWriter, local_tag: str, response: Response) -> Dialog:
        """The dialog that a response to our INVITE makes (§12.1.2): routes in reverse order.

        A Contact or Record-Route that cannot be read is taken for absent: the call is up at the other end.
        """
        try:
            target = _contact(response)
            routes = _record_routes(response)[::-1]
        except SipParseError:
            target, routes = None, []
        return Dialog(
            response.call_id,
            local=invite.from_,
            remote=response.headers.get("To") or "",
            local_tag=local_tag,
            remote_tag=response.to_tag or "",
            local_cseq=invite.cseq,
            remote_cseq=None,
            remote_target=target or invite.uri,
            routes=routes,
        )

    @property
    def next_hop(self) -> str:
        """The URI that a request of this dialog is sent to."""
        return _router(self.routes[0])[0] if self.routes else self.remote_target

    def accept_cseq(self, cseq: int) -> bool:
        """Take the number of a request of the peer's; False if it is older than one seen before (§12.2.2)."""
        if self.remote_cseq is not None and cseq < self.remote_cseq:
            return False
        self.remote_cseq = cseq
        return True

    def refresh_target(self, message: Message) -> None:
        """Follow the Contact of an accepted re-INVITE, or of the 2xx to ours (§12.2.1.2, §12.2.2)."""
        try:
            self.remote_target = _contact(message) or self.remote_target
        except SipParseError:
            return

    def request(
        self,
        method: str,
        branch: str,
        *,
        cseq: int | None = None,
        headers: Sequence[tuple[str, str]] = (),
        lines: str = "",
        body: bytes = b"",
    ) -> RequestWriter:
        """A request to the peer (§12.2.1.1), along loose routers or through a strict one.

        cseq: for an ACK, its INVITE's number; otherwise the next one.
        lines: see `RequestWriter`.
        """
        if cseq is None:
            self.local_cseq += 1
            cseq = self.local_cseq
        uri, routes = self.remote_target, self.routes
        if routes:
            router, loose = _router(routes[0])
            if not loose:
                # A strict router finds itself in the Request-URI, and the target last in the route.
                uri, routes = router, (*routes[1:], f"<{uri}>")
        return RequestWriter(
            method,
            uri,
            branch=branch,
            routes=routes,
            from_=self.local,
            to=self.remote,
            call_id=self.call_id,
            cseq=cseq,
            headers=headers,
            lines=lines,
            body=body,
        )


def _contact(message: Message) -> str | None:
    contact = message.contact
    return contact.uri if contact is not None else None


def _record_routes(message: Message) -> list[str]:
    """The Record-Route values as written. Raises SipParseError (400)."""
    routes = message.headers.values("Record-Route")
    if len(routes) > MAX_ROUTES:
        raise SipParseError(400, "Too many Record-Routes")
    for route in routes:
        _router(route)
    return routes


_routers: Final[dict[str, tuple[str, bool]]] = {}

_PLAIN_ROUTER: Final = re.compile(
    r"<(sips?:[A-Za-z0-9.-]{1,250}(?::[0-9]{1,4})?(?:;r2=on|;transport=[a-z]+)?"
    r";lr(?:=on)?(?:;[a-z0-9]+(?:=[A-Za-z0-9.-]+)?)*)>"
)
"""A loose router as nearly all write themselves, some with a parameter that is another one in every call. No
two ways lead through it, so that it takes time in proportion to the text."""


def _router(route: str) -> tuple[str, bool]:
    """A Route value's URI, and whether it is a loose router. Raises SipParseError (400)."""
    known = _routers.get(route)
    if known is None:
        plain = _PLAIN_ROUTER.fullmatch(route)
        known = (plain[1], True) if plain is not None else _careful_router(route)
        if len(route) <= MAX_KNOWN_ROUTER:
            remember(_routers, route, known, KNOWN_ROUTERS)
    return known


def _careful_router(route: str) -> tuple[str, bool]:
    uri = NameAddr.parse(route).uri
    parsed = parse_uri(uri)
    return uri, not isinstance(parsed, SipUri) or parsed.param("lr") is not None

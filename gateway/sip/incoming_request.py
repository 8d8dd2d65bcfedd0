"""A request on its way up: how to answer it with, or without, remembering it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from gateway.sip.response_path import ResponsePath, response_path
from gateway.sip.response_writer import ResponseWriter

if TYPE_CHECKING:
    from gateway.sip.core import Core
    from gateway.sip.flow import Flow
    from gateway.sip.leg import HeaderList
    from gateway.sip.message import Request
    from gateway.sip.server_transaction import InviteServer, InviteServerUser, Server
    from gateway.sip.transaction import ServerKey


class IncomingRequest:
    """A request that is no repetition of one already known.

    Args:
        core: the surroundings.
        request: the request.
        source: where it came from.
        key: the server transaction it makes, if any is made.

    """

    __slots__ = ("_core", "key", "path", "request", "source")

    def __init__(self, core: Core, request: Request, source: Flow, key: ServerKey) -> None:
        self._core = core
        self.key = key
        self.request = request
        self.source = source
        self.path: ResponsePath = response_path(request.via, source)

    def writer(self, to_tag: str = "") -> ResponseWriter:
        """Writes the responses to it."""
        return ResponseWriter(self.request, self.source, to_tag)

    def respond_statelessly(self, status: int, reason: str | None = None, headers: HeaderList = ()) -> None:
        """Answer and forget (§8.2.7): a repetition is simply answered again.

        For answers that depend on nothing but the request, so that a repetition cannot get another one; and
        for all that belongs to no call, since being remembered is what a flood wants.
        """
        respond_statelessly(self._core, self.request, self.source, status, reason, headers)

    def respond(
        self, status: int, reason: str | None = None, headers: HeaderList = (), to_tag: str = ""
    ) -> None:
        """Answer finally, and answer every repetition the same; a refused INVITE until its ACK."""
        transaction: InviteServer | Server = (
            self._core.transactions.serve_invite(self.key, self.path)
            if self.request.method == "INVITE"
            else self.serve()
        )
        transaction.respond(status, self.writer(to_tag).write(status, reason, headers))

    def serve(self) -> Server:
        """Remember a request that is no INVITE, to be answered in its own time."""
        return self._core.transactions.serve(self.key, self.request.method, self.path)

    def serve_invite(self, user: InviteServerUser, to_tag: str) -> InviteServer:
        """Remember an INVITE, to be answered in its own time by `user`."""
        transaction = self._core.transactions.serve_invite(self.key, self.path)
        transaction.user = user
        transaction.to_tag = to_tag
        return transaction


def respond_statelessly(
    core: Core,
    request: Request,
    source: Flow,
    status: int,
    reason: str | None = None,
    headers: HeaderList = (),
) -> None:
    """Answer a request, perhaps a malformed one, without remembering it.

    Its To tag is made of the request, so that every repetition is answered the same (§8.2.7).
    """
    identity = f"{request.branch} {request.headers.get('Call-ID')}"
    tag = crc32(identity.encode("utf-8", "surrogateescape"))
    data = ResponseWriter(request, source, f"{tag:08x}").write(status, reason, headers)
    path = response_path(request.via, source)
    core.transactions.send_response(path, data, request.method, status)

"""A request of ours as text: written straight to the wire, and the template of its ACK and its CANCEL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.sip.grammar import FORBIDDEN

MAX_FORWARDS = 70
"""What a request starts with (RFC 3261 §8.1.1.6), and what an ACK or CANCEL has."""

_MAX_FORWARDS_LINE: Final = f"Max-Forwards: {MAX_FORWARDS}\r\n"

CREDENTIALS = ("Authorization", "Proxy-Authorization")
"""The headers that answer a challenge (RFC 3261 §22)."""


def one_line(text: str) -> str:
    """The text with every CR, LF and NUL made a space, since each would start a header of its own.

    What we write is partly what a peer wrote (its Contact is our Request-URI, its X- headers go on to the
    agent), so such a character is made harmless rather than raised about in the middle of a call.
    """
    return FORBIDDEN.sub(" ", text) if FORBIDDEN.search(text) is not None else text


def header_lines(headers: Sequence[tuple[str, str]]) -> str:
    """Header lines, each with its line end; whatever would make two lines of one is made harmless."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if text.count("\n") == text.count("\r") == len(headers) and "\0" not in text:
        return text
    return "".join([f"{one_line(name)}: {one_line(value)}\r\n" for name, value in headers])


class RequestWriter:
    """Everything of one request but its Via's address, which depends on the transport that will carry it.

    Args:
        method, uri: the request line.
        branch: names the transaction; the ACK of a non-2xx and the CANCEL share it (§17.1.1.3, §9.1).
        routes: the values of its Route headers, in order.
        from_, to: as written, tags included.
        cseq: the CSeq number.
        headers: further headers, in order; Max-Forwards, Contact and Content-Type among them if wanted.
        lines: headers that are written already, each with its line end; they go first.

    Attributes:
        credentials: of a challenged request that was `renewed`, who we said we are: its ACK repeats that.

    """

    __slots__ = (
        "_body",
        "_headers",
        "_routes",
        "branch",
        "call_id",
        "credentials",
        "cseq",
        "from_",
        "method",
        "to",
        "uri",
    )

    def __init__(
        self,
        method: str,
        uri: str,
        *,
        branch: str,
        routes: Sequence[str] = (),
        from_: str,
        to: str,
        call_id: str,
        cseq: int,
        headers: Sequence[tuple[str, str]] = (),
        lines: str = "",
        body: bytes = b"",
    ) -> None:
        self.method = method
        self.uri = one_line(uri)
        self.branch = branch
        self._routes = "".join([f"Route: {route}\r\n" for route in routes])
        self.from_ = from_
        self.to = to
        self.call_id = call_id
        self.cseq = cseq
        text = header_lines(headers) if headers else ""
        first = "" if "Max-Forwards:" in text else _MAX_FORWARDS_LINE
        self._headers = f"{first}{lines}{text}"
        self._body = body
        self.credentials: Sequence[tuple[str, str]] = ()

    def write(self, sent_by: str) -> bytes:
        """The request on the wire.

        sent_by: what its Via says of us: ``UDP 192.0.2.1:5060``.
        """
        return self._write(self.method, self.to, sent_by, self._headers, self._body)

    def write_ack(self, sent_by: str, to: str) -> bytes:
        """The ACK of a non-2xx final response (§17.1.1.3).

        to: the response's To, which has the peer's tag.
        """
        return self._write("ACK", to, sent_by, _MAX_FORWARDS_LINE, b"")

    def cancel(self, headers: Sequence[tuple[str, str]] = ()) -> RequestWriter:
        """The CANCEL of this INVITE (§9.1): same branch, same route, same CSeq number."""
        cancel = RequestWriter(
            "CANCEL",
            self.uri,
            branch=self.branch,
            from_=self.from_,
            to=self.to,
            call_id=self.call_id,
            cseq=self.cseq,
            headers=headers,
        )
        cancel._routes = self._routes
        return cancel

    def renewed(self, branch: str, headers: Sequence[tuple[str, str]]) -> RequestWriter:
        """The same request once more, after a refusal that asked for something else: a new transaction.

        headers: take the place of those of the same names.
        """
        names = tuple(f"{name}:" for name, _ in headers)
        kept = [line for line in self._headers.splitlines(keepends=True) if not line.startswith(names)]
        renewed = RequestWriter(
            self.method,
            self.uri,
            branch=branch,
            from_=self.from_,
            to=self.to,
            call_id=self.call_id,
            cseq=self.cseq + 1,
            body=self._body,
        )
        renewed._routes = self._routes
        renewed._headers = "".join(kept) + header_lines(headers)
        renewed.credentials = tuple(each for each in headers if each[0] in CREDENTIALS)
        return renewed

    def _write(self, method: str, to: str, sent_by: str, headers: str, body: bytes) -> bytes:
        # rport on every transport: over a stream it changes nothing, and the peer tells what it sees.
        head = (
            f"{method} {self.uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/{sent_by};branch={self.branch};rport\r\n"
            f"{self._routes}"
            f"From: {self.from_}\r\n"
            f"To: {to}\r\n"
            f"Call-ID: {self.call_id}\r\n"
            f"CSeq: {self.cseq} {method}\r\n"
            f"{headers}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("utf-8", "surrogateescape") + body

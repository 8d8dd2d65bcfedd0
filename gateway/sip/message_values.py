"""Requests and responses as values (RFC 3261 §7): what they carry, read when somebody asks."""

from __future__ import annotations

from typing import Final

from gateway.sip.grammar import SipParseError, checked, split_outside
from gateway.sip.headers import NameAddr, Via, parse_cseq, parse_number
from gateway.sip.message_headers import Headers

_COMMON: Final = ("Call-ID", "Via", "From", "To", "CSeq")


class Message:
    """What requests and responses have in common."""

    __slots__ = ("_contact", "_cseq", "_from", "_to", "_via", "body", "headers")

    headers: Headers
    body: bytes

    def __init__(self, headers: Headers, body: bytes) -> None:
        self.headers = headers
        self.body = body
        self._via: Via | None = None
        self._from: NameAddr | None = None
        self._to: NameAddr | None = None
        self._cseq: tuple[int, str] | None = None
        self._contact: NameAddr | None = None

    def _mandatory(self, name: str) -> str:
        value = self.headers.get(name)
        if value is None:
            raise SipParseError(400, f"Missing {name} header")
        return value

    def read_common(self) -> None:
        """Read the five headers without which nothing can be matched. Raises SipParseError (400)."""
        get = self.headers.first.get
        call_id, via, from_ = get("Call-ID"), get("Via"), get("From")
        to, cseq = get("To"), get("CSeq")
        if call_id is None or via is None or from_ is None or to is None or cseq is None:
            missing = next(name for name in _COMMON if name not in self.headers)
            raise SipParseError(400, f"Missing {missing} header")
        if not call_id:
            raise SipParseError(400, "Empty Call-ID")
        self._via = _top_via(via)
        self._from = NameAddr.parse(from_)
        self._to = NameAddr.parse(to)
        self._cseq = parse_cseq(cseq)

    @property
    def via(self) -> Via:
        """The top Via. Raises SipParseError (400)."""
        if self._via is None:
            self._via = _top_via(self._mandatory("Via"))
        return self._via

    @property
    def vias(self) -> list[Via]:
        """All Vias, top first. Raises SipParseError (400)."""
        return [Via.parse(value) for value in self.headers.values("Via")]

    def replace_top_via(self, via: Via, line: str) -> None:
        """Put another value, written as `line`, in the place of the whole first Via line."""
        self.headers.replace_first("Via", line)
        self._via = via

    @property
    def from_(self) -> NameAddr:
        """The From header. Raises SipParseError (400)."""
        if self._from is None:
            self._from = NameAddr.parse(self._mandatory("From"))
        return self._from

    @property
    def to(self) -> NameAddr:
        """The To header. Raises SipParseError (400)."""
        if self._to is None:
            self._to = NameAddr.parse(self._mandatory("To"))
        return self._to

    @property
    def from_tag(self) -> str | None:
        """The From header's tag."""
        return self.from_.tag

    @property
    def to_tag(self) -> str | None:
        """The To header's tag."""
        return self.to.tag

    @property
    def call_id(self) -> str:
        """The Call-ID. Raises SipParseError (400)."""
        return self._mandatory("Call-ID")

    @property
    def cseq(self) -> int:
        """The CSeq number. Raises SipParseError (400)."""
        if self._cseq is None:
            self._cseq = parse_cseq(self._mandatory("CSeq"))
        return self._cseq[0]

    @property
    def cseq_method(self) -> str:
        """The CSeq method. Raises SipParseError (400)."""
        if self._cseq is None:
            self._cseq = parse_cseq(self._mandatory("CSeq"))
        return self._cseq[1]

    @property
    def branch(self) -> str | None:
        """The top Via's branch. Raises SipParseError (400)."""
        return self.via.branch

    @property
    def contact(self) -> NameAddr | None:
        """The first Contact; None if absent or `*`. Raises SipParseError (400)."""
        if self._contact is None:
            values = self.headers.values("Contact")
            if not values or values[0] == "*":
                return None
            self._contact = NameAddr.parse(values[0])
        return self._contact

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards, 0 to 255; None if absent. Raises SipParseError (400)."""
        value = self.headers.get("Max-Forwards")
        return None if value is None else parse_number("Max-Forwards", value, 255)

    def _start_line(self) -> str:
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """The message on the wire; Content-Length is always set by the body. Raises LocalProtocolError."""
        lines = [self._start_line()]
        for name, value in self.headers.items():
            if name != "Content-Length":
                lines.append(f"{checked(name)}: {checked(value)}")
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + self.body


class Request(Message):
    """A request: method, Request-URI as written, headers and body."""

    __slots__ = ("method", "uri")

    def __init__(self, method: str, uri: str, headers: Headers, body: bytes = b"") -> None:
        Message.__init__(self, headers, body)
        self.method = method
        self.uri = uri

    def _start_line(self) -> str:
        return f"{self.method} {checked(self.uri)} SIP/2.0"

    def __repr__(self) -> str:
        return f"Request({self.method})"


class Response(Message):
    """A response: status, reason phrase, headers and body."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str, headers: Headers, body: bytes = b"") -> None:
        Message.__init__(self, headers, body)
        self.status = status
        self.reason = reason

    def _start_line(self) -> str:
        return f"SIP/2.0 {self.status} {checked(self.reason)}"

    def __repr__(self) -> str:
        return f"Response({self.status})"


def _top_via(line: str) -> Via:
    return Via.parse(split_outside(line, ",")[0] if "," in line else line)

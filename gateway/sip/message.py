"""SIP messages: requests and responses, from bytes and to bytes (RFC 3261 §7).

Parsing splits the head once, canonicalises names by one dictionary lookup each, and reads only the five
headers that every layer needs. Everything else stays text until somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.sip.grammar import SipParseError, checked, format_params, is_token, split_outside
from gateway.sip.header_names import CANONICAL, SINGLE, canonical_name
from gateway.sip.headers import USUAL_METHODS, NameAddr, Via, parse_cseq, parse_number
from gateway.sip.message_headers import Headers
from gateway.sip.reasons import REASONS, reason_phrase

__all__ = [
    "REASONS",
    "Headers",
    "Message",
    "Request",
    "Response",
    "SipParseError",
    "make_response",
    "parse_message",
]

MAX_HEADER_BYTES: Final = 16_384
"""The head of one message. Carriers' INVITEs take 2 kB; an Identity header (STIR) may add 2 kB more."""

MAX_HEADER_COUNT: Final = 200
"""Header lines of one message. The longest of RFC 4475 has 40; a list this long is an attack on our
memory."""

MAX_BODY_BYTES: Final = 65_535
"""One body: a datagram cannot hold more, and no SDP comes near."""

LINEAR_SPACE: Final = " \t"
"""What may surround a header value (§25.1 LWS)."""

FORM_DIALOG: Final = range(101, 300)
"""Responses to INVITE that create a dialog, and so carry Record-Route back (§12.1.1)."""


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

    @property
    def via(self) -> Via:
        """The top Via. Raises SipParseError (400)."""
        if self._via is None:
            line = self._mandatory("Via")
            self._via = Via.parse(split_outside(line, ",")[0] if "," in line else line)
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
                lines.append(f"{name}: {value}")
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


def parse_message(data: bytes) -> Request | Response:
    """One whole message: a datagram, or what was framed from a stream.

    Raises SipParseError; its `request` is set when the fault is in a request that can be answered all the
    same, that is, one with Via, From, To and CSeq.
    """
    data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n\r\n")
    terminated = end >= 0
    head = data[:end] if terminated else data.rstrip(b"\r\n")
    if len(head) > MAX_HEADER_BYTES:
        raise SipParseError(400, "Headers too long")
    body = data[end + 4 :] if terminated else b""
    lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    if len(lines) > MAX_HEADER_COUNT:
        raise SipParseError(400, "Too many headers")
    text = "".join(lines)
    stray = "\n" in text or "\r" in text
    start = lines.pop(0)
    headers, fault = _headers(lines)
    if stray:
        fault = SipParseError(400, "Stray CR or LF in a header")
    if not terminated:
        fault = fault or SipParseError(400, "Headers do not end")
    if start[:4] == "SIP/" or start[:4].upper() == "SIP/":
        return _response(start, headers, body, fault)
    return _request(start, headers, body, fault)


def _headers(lines: list[str]) -> tuple[Headers, SipParseError | None]:
    """The headers as far as they can be read, and the first fault in them."""
    fault: SipParseError | None = None
    items: list[tuple[str, str]] = []
    first: dict[str, str] = {}
    folded = False
    for line in lines:
        name, _, value = line.partition(": ")
        known = CANONICAL.get(name)
        if known is None:
            if line[:1] in {" ", "\t"} and items:
                known, value = items[-1]  # §7.3.1: folded, the same as one space
                items[-1] = known, f"{value} {line.strip(LINEAR_SPACE)}".lstrip(LINEAR_SPACE)
                folded = True
                continue
            name, colon, value = line.partition(":")
            name = name.rstrip(LINEAR_SPACE)
            known = canonical_name(name)
            if known is name and (not colon or not is_token(name)):
                fault = fault or SipParseError(400, "Bad header line")
                continue
        value = value.strip(LINEAR_SPACE)
        items.append((known, value))
        if known not in first:
            first[known] = value
        elif known in SINGLE:
            fault = fault or SipParseError(400, f"More than one {known} header")
    return Headers.from_canonical(items, None if folded else first), fault


def _request(start: str, headers: Headers, body: bytes, fault: SipParseError | None) -> Request:
    method, _, rest = start.partition(" ")
    uri, _, version = rest.rpartition(" ")
    if not uri and version:
        uri, version = version, ""
    request = Request(method, uri, headers, body)
    try:
        if fault is not None:
            raise fault
        if method not in USUAL_METHODS and not is_token(method):
            raise SipParseError(400, "Bad method")
        if version != "SIP/2.0" and version.upper() != "SIP/2.0":
            if version[:4].upper() == "SIP/" and "." in version:
                raise SipParseError(505, "Version Not Supported")
            raise SipParseError(400, "Bad request line")
        if not uri or " " in uri or "\t" in uri or "<" in uri or ">" in uri:
            raise SipParseError(400, "Bad Request-URI")
        _check_common(request)
        if request.cseq_method != method:
            raise SipParseError(400, "CSeq method does not match the request")
        request.body = _exact_body(headers, body)
    except SipParseError as error:
        error.request = request if _answerable(request) else None
        raise
    return request


def _response(start: str, headers: Headers, body: bytes, fault: SipParseError | None) -> Response:
    if fault is not None:
        raise fault
    version, _, rest = start.partition(" ")
    code, _, reason = rest.partition(" ")
    if version.upper() != "SIP/2.0":
        raise SipParseError(505, "Version Not Supported")
    if len(code) != 3 or not (code.isascii() and code.isdigit()) or not "100" <= code <= "699":
        raise SipParseError(400, "Bad status code")
    response = Response(int(code), reason, headers, body)
    _check_common(response)
    response.body = _exact_body(headers, body)
    return response


def _check_common(message: Message) -> None:
    """Read the five headers without which nothing can be matched."""
    if not message.call_id:
        raise SipParseError(400, "Empty Call-ID")
    _ = message.via, message.from_, message.to, message.cseq


def _answerable(request: Request) -> bool:
    """Whether a response could find its way and its transaction (§17.1.3: Call-ID is not needed)."""
    if request.method == "ACK" or not all(request.headers.get(name) for name in ("From", "To", "CSeq")):
        return False
    try:
        _ = request.via
    except SipParseError:
        return _salvage_via(request)
    return True


def _salvage_via(request: Request) -> bool:
    """Reduce a malformed top Via line to what can be sent back; False if nothing of it can be used."""
    line = request.headers.get("Via") or ""
    try:
        via = Via.salvage(line)
    except SipParseError:
        return False
    sent_by = line.partition(",")[0].partition(";")[0].rstrip()  # as written: another version has its own
    request.replace_top_via(via, f"{sent_by}{format_params(via.params)}")
    return True


def _exact_body(headers: Headers, body: bytes) -> bytes:
    """The body that Content-Length names; a datagram may carry more (§18.3). Raises SipParseError."""
    value = headers.get("Content-Length")
    if value == "0":
        return b""
    if value is None:
        length = len(body)
    else:
        length = parse_number("Content-Length", value, 2**31)
        if length > len(body):
            raise SipParseError(400, "Content-Length larger than the body")
    if length > MAX_BODY_BYTES:
        raise SipParseError(413, "Body too large")
    return body if length == len(body) else body[:length]


def make_response(
    request: Request,
    status: int,
    reason: str | None = None,
    to_tag: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Response:
    """A response to a request, with what §8.2.6 says must be copied from it.

    to_tag: added to To if it has none; not for 100.
    headers: further headers, after the copied ones.
    """
    copied: list[tuple[str, str]] = []
    keep_route = request.method == "INVITE" and status in FORM_DIALOG
    for name, value in request.headers.items():
        if name in {"Via", "From", "Call-ID", "CSeq"} or (keep_route and name == "Record-Route"):
            copied.append((name, value))
        elif name == "To":
            if to_tag and status != 100 and ";tag=" not in value.lower().replace(" ", ""):
                value = f"{value};tag={to_tag}"
            copied.append((name, value))
        elif name == "Timestamp" and status == 100:
            copied.append((name, value))
    copied += [(canonical_name(checked(name)), checked(value)) for name, value in headers]
    return Response(
        status, reason if reason is not None else reason_phrase(status), Headers.from_canonical(copied), body
    )

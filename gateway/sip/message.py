"""SIP messages from bytes (RFC 3261 §7).

Parsing splits the head once, canonicalises names by one dictionary lookup each, and reads only the five
headers that every layer needs. Everything else stays text until somebody asks.

In the compiled wheel the heads of plain messages are split by `plain_head.c`; all others come here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from gateway.sip.grammar import SipParseError, format_params, is_token
from gateway.sip.header_names import CANONICAL, SINGLE, canonical_name
from gateway.sip.headers import USUAL_METHODS, Via, parse_number
from gateway.sip.message_headers import Headers
from gateway.sip.message_values import Message, Request, Response

__all__ = [
    "Headers",
    "Message",
    "Request",
    "Response",
    "SipParseError",
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

PlainHead: TypeAlias = tuple[str, list[tuple[str, str]], dict[str, str], bytes]
"""Start line, headers, the first of each name, body."""


def _native() -> Callable[[bytes], PlainHead | None] | None:
    """The parser in C, in the wheel that has it."""
    try:
        from gateway.sip.plain_head import plain_head
    except ImportError:
        return None
    return plain_head


_plain_head: Final = _native()


def parse_message(data: bytes) -> Request | Response:
    """One whole message: a datagram, or what was framed from a stream.

    Raises SipParseError; its `request` is set when the fault is in a request that can be answered all the
    same, that is, one with Via, From, To and CSeq.
    """
    plain = None if _plain_head is None else _plain_head(data)
    if plain is not None:
        start, items, first, body = plain
        headers, fault = Headers(items, first), None
    else:
        start, headers, body, fault = careful_head(data)
    if start[:4] == "SIP/" or start[:4].upper() == "SIP/":
        return _response(start, headers, body, fault)
    return _request(start, headers, body, fault)


def careful_head(data: bytes) -> tuple[str, Headers, bytes, SipParseError | None]:
    """Start line, headers as far as they can be read, body, and what is wrong if it can be answered.

    Raises SipParseError for what cannot be answered.
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
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1:
        # Not answered: what it says would be repeated, and where its lines end depends on the reader.
        raise SipParseError(400, "Stray CR or LF in a header")
    start = lines.pop(0)
    headers, fault = _headers(lines)
    if not terminated:
        fault = fault or SipParseError(400, "Headers do not end")
    return start, headers, body, fault


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
    return Headers(items, dict(reversed(items)) if folded else first), fault


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
        request.read_common()
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
    response.read_common()
    response.body = _exact_body(headers, body)
    return response


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
    value = headers.first.get("Content-Length")
    if value == str(len(body)) and len(body) <= MAX_BODY_BYTES:
        return body
    length = len(body) if value is None else parse_number("Content-Length", value, 2**31)
    if length > MAX_BODY_BYTES:
        raise SipParseError(413, "Body too large")
    if length > len(body):
        raise SipParseError(400, "Content-Length larger than the body")
    return body if length == len(body) else body[:length]

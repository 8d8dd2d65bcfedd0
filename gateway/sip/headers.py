"""Header values that nobody changes: parse and str round-trip (RFC 3261 §20)."""

from __future__ import annotations

from typing import Final, TypeAlias

from gateway.sip.grammar import (
    TOKEN,
    SipParseError,
    format_host,
    format_params,
    is_token,
    param_of,
    parse_host_port,
    parse_params,
)
from gateway.sip.remembering import remember
from gateway.sip.uri import Params

_USUAL_PROTOCOLS: Final = {"SIP/2.0/UDP": "UDP", "SIP/2.0/TCP": "TCP", "SIP/2.0/TLS": "TLS"}
"""sent-protocol as nearly everybody writes it; the rest is taken apart."""

USUAL_METHODS: Final = frozenset(
    {"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "PRACK", "UPDATE", "REFER", "NOTIFY"}
)

MAX_REMEMBERED_ADDRESSES: Final = 4_096
"""From, To and the like whose parts are remembered: each comes in every message of its dialog. Some 3 MB.
Full, this table and those below are emptied: that costs less than knowing the oldest, and what is in use
comes back."""

MAX_REMEMBERED_ADDRESS: Final = 256
"""Characters of one that is; who writes longer ones makes us no larger."""

MAX_REMEMBERED_CSEQS: Final = 4_096
"""CSeqs whose parts are remembered: most calls begin with the same one. Less than 1 MB."""

MAX_REMEMBERED_CSEQ: Final = 32
"""Characters of one that is: a number and a usual method."""

MAX_REMEMBERED_HOPS: Final = 1_024
"""Beginnings of Vias, up to the parameters, whose parts are remembered: there are as many as peers.
0.5 MB."""

MAX_REMEMBERED_HOP: Final = 128
"""Characters of one that is: a protocol, a name, a port."""

_Hop: TypeAlias = tuple[str, str, int | None]

_PLAIN_TAG: Final = TOKEN.fullmatch


class Via:
    """One hop of the path back (§20.42).

    transport: upper case: UDP, TCP, TLS, …
    host, port: sent-by; IPv6 without brackets; port None if not given.
    branch: the transaction's name at this hop.
    """

    __slots__ = ("branch", "host", "params", "port", "transport")

    def __init__(self, transport: str, host: str, port: int | None, params: Params = ()) -> None:
        self.transport: Final = transport
        self.host: Final = host
        self.port: Final = port
        self.params: Final = params
        self.branch: Final = param_of(params, "branch")

    @staticmethod
    def parse(text: str) -> Via:
        """One via-parm. Raises SipParseError (400)."""
        hop, semicolon, params = text.partition(";")
        known = _hops.get(hop)
        if known is None:
            known = _hop(hop)
        return Via(known[0], known[1], known[2], parse_params(params) if semicolon else ())

    @staticmethod
    def salvage(text: str) -> Via:
        """What a malformed Via line still says of its sender: sent-by, and the parameters that are whole.

        Any protocol version will do (§8.2.6: whoever cannot be served can be told so).

        Raises SipParseError (400) if there is no sent-by either.
        """
        protocol, _, params = text.partition(",")[0].partition(";")
        transport, sent_by = _via_protocol(protocol, any_version=True)
        whole: list[tuple[str, str | None]] = []
        for part in params.split(";"):
            try:
                whole += parse_params(part)
            except SipParseError:
                continue
        host, port = parse_host_port(sent_by)
        return Via(transport, host, port, tuple(whole))

    def param(self, name: str) -> str | None:
        """The value of a parameter; empty for a flag, None if absent."""
        return param_of(self.params, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Via) and (
            (self.transport, self.host, self.port, self.params)
            == (other.transport, other.host, other.port, other.params)
        )

    def __hash__(self) -> int:
        return hash((self.transport, self.host, self.port, self.params))

    def __repr__(self) -> str:
        return f"Via({self})"

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {format_host(self.host)}{port}{format_params(self.params)}"


class NameAddr:
    """From, To, Contact, Route, …: a URI with a display name and parameters (§20.10).

    display: without quotes and escapes; empty if there is none.
    uri: as written, without angle brackets.
    tag: the dialog's tag on this side.
    """

    __slots__ = ("display", "params", "tag", "uri")

    def __init__(self, display: str, uri: str, params: Params = ()) -> None:
        self.display: Final = display
        self.uri: Final = uri
        self.params: Final = params
        self.tag: Final = param_of(params, "tag")

    @staticmethod
    def parse(text: str) -> NameAddr:
        """A name-addr or addr-spec with parameters. Raises SipParseError (400)."""
        known = _addresses.get(text)
        if known is None:
            known = NameAddr.parse_afresh(text)
            if len(text) <= MAX_REMEMBERED_ADDRESS:
                remember(_addresses, text, known, MAX_REMEMBERED_ADDRESSES)
        return known

    @staticmethod
    def parse_afresh(text: str) -> NameAddr:
        """As `parse`, and nothing is remembered."""
        if text[:5] == "<sip:":  # how most write it: no display name, and at most one parameter
            uri, _, tail = text[1:].partition(">")
            if "<" not in uri and " " not in uri and "\t" not in uri:
                if not tail and text[-1] == ">":
                    return NameAddr("", uri)
                if tail[:5] == ";tag=" and _PLAIN_TAG(tail, 5) is not None:
                    return NameAddr("", uri, (("tag", tail[5:]),))
        text = text.strip()
        if text.startswith('"'):
            display, rest = _quoted(text)
            rest = rest.lstrip()
            if not rest.startswith("<"):
                raise SipParseError(400, "Quoted name without an angle bracket")
        else:
            before, bracket, _ = text.partition("<")
            if not bracket:
                # §20.10: without brackets, whatever follows a semicolon belongs to the header, not to the
                # URI.
                uri, semicolon, params = text.partition(";")
                uri = uri.strip()
                if ":" not in uri or any(character in uri for character in ' \t,">'):
                    raise SipParseError(400, "Bad address")
                if "?" in uri:
                    raise SipParseError(400, "Address with ? needs angle brackets")
                return NameAddr("", uri, parse_params(params) if semicolon else ())
            display = before.strip()
            if '"' in display or "," in display or ";" in display:
                raise SipParseError(400, "Bad display name")
            rest = text[len(before) :]
        uri, bracket, tail = rest[1:].partition(">")
        uri = uri.strip()
        if not bracket or ":" not in uri or "<" in uri or " " in uri or "\t" in uri:
            raise SipParseError(400, "Bad address")
        tail = tail.strip()
        if not tail:
            return NameAddr(display, uri)
        if not tail.startswith(";"):
            raise SipParseError(400, "Text after an address")
        return NameAddr(display, uri, parse_params(tail[1:]))

    def param(self, name: str) -> str | None:
        """The value of a parameter; empty for a flag, None if absent."""
        return param_of(self.params, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NameAddr) and (
            (self.display, self.uri, self.params) == (other.display, other.uri, other.params)
        )

    def __hash__(self) -> int:
        return hash((self.display, self.uri, self.params))

    def __repr__(self) -> str:
        return f"NameAddr({self})"

    def __str__(self) -> str:
        if not self.display:
            return f"<{self.uri}>{format_params(self.params)}"
        escaped = self.display.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}" <{self.uri}>{format_params(self.params)}'


_addresses: Final[dict[str, NameAddr]] = {}

_hops: Final[dict[str, _Hop]] = {}


def _hop(text: str) -> _Hop:
    """Transport, host and port of a Via, from what stands before its parameters."""
    protocol, _, sent_by = text.partition(" ")
    transport = _USUAL_PROTOCOLS.get(protocol)
    if transport is None:
        transport, sent_by = _via_protocol(text)
    host, port = parse_host_port(sent_by)
    hop = transport, host, port
    if len(text) <= MAX_REMEMBERED_HOP:
        remember(_hops, text, hop, MAX_REMEMBERED_HOPS)
    return hop


def _via_protocol(protocol: str, *, any_version: bool = False) -> tuple[str, str]:
    """sent-protocol LWS sent-by, with the white space around slashes that §25.1 allows."""
    pieces = [piece.strip() for piece in protocol.split("/", 2)]
    if len(pieces) != 3:
        raise SipParseError(400, "Bad Via")
    parts = pieces[2].split(None, 1)
    if len(parts) != 2 or not is_token(parts[0]):
        raise SipParseError(400, "Bad Via")
    if pieces[0].upper() != "SIP" or (pieces[1] != "2.0" and not any_version):
        raise SipParseError(400, "Bad protocol in Via")
    return parts[0].upper(), parts[1]


def _quoted(text: str) -> tuple[str, str]:
    """A quoted-string at the start: its content unescaped, and what follows it."""
    if "\\" not in text:
        content, quote, rest = text[1:].partition('"')
        if not quote:
            raise SipParseError(400, "Unbalanced quotes")
        return content, rest
    out: list[str] = []
    position = 1
    while position < len(text):
        character = text[position]
        if character == '"':
            return "".join(out), text[position + 1 :]
        if character == "\\":
            position += 1
            if position == len(text):
                break
            character = text[position]
        out.append(character)
        position += 1
    raise SipParseError(400, "Unbalanced quotes")


def parse_cseq(text: str) -> tuple[int, str]:
    """CSeq (§20.16): a number below 2**31 and a method. Raises SipParseError (400)."""
    known = _cseqs.get(text)
    if known is None:
        known = _cseq(text)
        if len(text) <= MAX_REMEMBERED_CSEQ:
            remember(_cseqs, text, known, MAX_REMEMBERED_CSEQS)
    return known


_cseqs: Final[dict[str, tuple[int, str]]] = {}


def _cseq(text: str) -> tuple[int, str]:
    number, _, method = text.strip().partition(" ")
    method = method.strip()
    if not (number.isascii() and number.isdigit()) or len(number) > 10 or int(number) >= 2**31:
        raise SipParseError(400, "CSeq number out of range")
    if not is_token(method):
        raise SipParseError(400, "Bad method in CSeq")
    return int(number), method


def parse_number(name: str, text: str, limit: int) -> int:
    """A header of one decimal number up to `limit`. Raises SipParseError (400) naming the header."""
    text = text.strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > limit:
        raise SipParseError(400, f"Bad {name}")
    return int(text)

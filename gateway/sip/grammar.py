"""The small pieces of RFC 3261 §25.1 that every parser here needs, each beside its rule."""

from __future__ import annotations

import re
from typing import Final

from gateway.sip.remembering import remember


class SipParseError(Exception):
    """A message, or a part of it, is not SIP; the peer is to blame.

    status: what RFC 3261 answers it with (400, 416, 505, …).
    reason: names the fault, fit for a reason phrase.
    request: the request as far as it could be read, if enough of it could be read to answer; else None.
    """

    def __init__(self, status: int, reason: str, request: object = None) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.request = request


class LocalProtocolError(Exception):
    """We were about to send something that is not SIP: a mistake of ours, never of the peer's."""


# token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~")
TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")

# No header value, URI or reason phrase of ours may hold one of these: it would start a header of its own.
FORBIDDEN: Final = re.compile("[\r\n\0]")


def is_token(text: str) -> bool:
    """Whether the whole text is one token."""
    return TOKEN.fullmatch(text) is not None


def checked(text: str) -> str:
    """The text, if it may stand on one header line; `LocalProtocolError` otherwise."""
    if FORBIDDEN.search(text) is not None:
        raise LocalProtocolError(f"CR, LF or NUL in {text[:40]!r}")
    return text


def split_outside(text: str, separator: str) -> list[str]:
    """Split at separators that stand outside of quoted strings and angle brackets; parts are stripped.

    Raises SipParseError (400) for a quoted string or an angle bracket that is never closed.
    """
    if '"' not in text and "<" not in text:
        return [part.strip() for part in text.split(separator)]
    parts: list[str] = []
    start = position = 0
    quoted = bracketed = False
    length = len(text)
    while position < length:
        character = text[position]
        if quoted:
            if character == "\\":
                position += 1
            elif character == '"':
                quoted = False
        elif bracketed:
            if character == ">":
                bracketed = False
        elif character == '"':
            quoted = True
        elif character == "<":
            bracketed = True
        elif character == separator:
            parts.append(text[start:position].strip())
            start = position + 1
        position += 1
    if quoted or bracketed:
        raise SipParseError(400, "Unbalanced quotes or angle brackets")
    parts.append(text[start:].strip())
    return parts


_USUAL_PARAMS: Final = frozenset({"branch", "tag", "received", "rport", "transport", "lr", "r2"})


def parse_params(text: str) -> tuple[tuple[str, str | None], ...]:
    """generic-param *( SEMI generic-param ): names in lower case, values as they stand.

    text: what follows the first semicolon. Raises SipParseError (400).
    """
    if ";" not in text:  # as most often
        name, _, value = text.partition("=")
        if name in _USUAL_PARAMS and value:
            return ((name, value.strip()),)
    params: list[tuple[str, str | None]] = []
    for part in split_outside(text, ";") if '"' in text else text.split(";"):
        name, equals, value = part.partition("=")
        if name in _USUAL_PARAMS:
            params.append((name, value.strip() if equals else None))
            continue
        name = name.strip().lower()
        if not name:
            if not equals and not value:
                raise SipParseError(400, "Empty parameter")
            raise SipParseError(400, "Parameter without a name")
        params.append((name, value.strip() if equals else None))
    return tuple(params)


def param_of(params: tuple[tuple[str, str | None], ...], name: str) -> str | None:
    """The value of a parameter; empty for a flag, None if absent."""
    for key, value in params:
        if key == name:
            return value or ""
    return None


def format_params(params: tuple[tuple[str, str | None], ...]) -> str:
    """The parameters with a semicolon before each."""
    return "".join(f";{name}" if value is None else f";{name}={value}" for name, value in params)


KNOWN_HOST_PORTS: Final = 4096
"""Texts whose parse is remembered: there are as many as there are peers. Full, the table is emptied."""

MAX_HOST_PORT: Final = 300
"""A host name has 253 characters (RFC 1035 §2.3.4); this bounds what one remembered text takes."""

# Underscores are in no host name, and in many a real one. RFC 5118 §4.10: a third colon before an embedded
# IPv4 address comes from a mistake in the grammar of RFC 3261, and is let through.
_HOST: Final = re.compile(r"[A-Za-z0-9\-._]+")
_IPV6: Final = re.compile(r"[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")


known_host_ports: Final[dict[str, tuple[str, int | None]]] = {}


def parse_host_port(text: str) -> tuple[str, int | None]:
    """Hostport = host [ ":" port ]; an IPv6 reference loses its brackets.

    Raises SipParseError (400).
    """
    known = known_host_ports.get(text)
    if known is None:
        known = remember(known_host_ports, text, _host_port(text), KNOWN_HOST_PORTS)
    return known


def _host_port(text: str) -> tuple[str, int | None]:
    if len(text) > MAX_HOST_PORT:
        raise SipParseError(400, "Host too long")
    text = text.strip()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or _IPV6.fullmatch(host) is None:
            raise SipParseError(400, "Bad IPv6 reference")
        rest = rest.strip()
        if rest and not rest.startswith(":"):
            raise SipParseError(400, "Bad port")
        port_text = rest[1:]
        has_port = bool(rest)
    else:
        host, colon, port_text = text.partition(":")
        host = host.strip()
        has_port = bool(colon)
        if _HOST.fullmatch(host) is None:
            raise SipParseError(400, "Bad host")
    if not has_port:
        return host, None
    port_text = port_text.strip()
    if not (port_text.isascii() and port_text.isdigit()) or len(port_text) > 5 or int(port_text) > 65535:
        raise SipParseError(400, "Bad port")
    return host, int(port_text)


def format_host(host: str) -> str:
    """The host as it stands in a message: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host

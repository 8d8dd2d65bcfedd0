"""URIs: sip, sips (RFC 3261 §19.1), tel (RFC 3966), and any other scheme kept as it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import unquote

from gateway.sip.grammar import SipParseError, format_host, format_params, parse_host_port, parse_params
from gateway.sip.remembering import remember

Params: TypeAlias = tuple[tuple[str, str | None], ...]

MAX_REMEMBERED_URIS: Final = 4_096
"""URIs whose parts are remembered: a call's messages name the same few again and again, and calls the same
agents. Some 3 MB. Full, the table is emptied."""

MAX_REMEMBERED_URI: Final = 256
"""Characters of one that is; who writes longer ones makes us no larger."""

_FORBIDDEN: Final = re.compile(r'[ \t\r\n<>"]').search


class UriError(SipParseError):
    """A text is no URI (400)."""


class SipUri:
    """A sip or sips URI. Nobody changes one.

    scheme: ``"sip"`` or ``"sips"``.
    user: as written, escapes included (two URIs that differ in escapes only are equal by `user_unescaped`);
        None if there is none.
    password: None if there is none.
    host: name or IP literal, IPv6 without brackets.
    port: None if there is none.
    params: in order, names in lower case.
    headers: what follows the question mark, as written.
    """

    __slots__ = ("headers", "host", "params", "password", "port", "scheme", "user")

    def __init__(
        self,
        scheme: str,
        user: str | None,
        password: str | None,
        host: str,
        port: int | None = None,
        params: Params = (),
        headers: str = "",
    ) -> None:
        self.scheme: Final = scheme
        self.user: Final = user
        self.password: Final = password
        self.host: Final = host
        self.port: Final = port
        self.params: Final = params
        self.headers: Final = headers

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SipUri) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        return f"SipUri({self})"

    def _parts(self) -> tuple[object, ...]:
        return self.scheme, self.user, self.password, self.host, self.port, self.params, self.headers

    @property
    def user_unescaped(self) -> str:
        """The user part with %xx resolved; empty if there is none."""
        user = self.user
        return unquote(user) if user and "%" in user else user or ""

    def param(self, name: str) -> str | None:
        """The value of a parameter; empty for a flag, None if absent."""
        for key, value in self.params:
            if key == name:
                return value or ""
        return None

    def __str__(self) -> str:
        text = f"{self.scheme}:"
        if self.user is not None:
            text += self.user
            if self.password is not None:
                text += f":{self.password}"
            text += "@"
        text += format_host(self.host)
        if self.port is not None:
            text += f":{self.port}"
        text += format_params(self.params)
        return f"{text}?{self.headers}" if self.headers else text


@dataclass(frozen=True, slots=True)
class TelUri:
    """A tel URI (RFC 3966): the number as written, visual separators included, and its parameters."""

    number: str
    params: Params = ()
    scheme: str = "tel"

    def __str__(self) -> str:
        return f"tel:{self.number}{format_params(self.params)}"


@dataclass(frozen=True, slots=True)
class OtherUri:
    """A URI of a scheme that we do not route."""

    scheme: str
    rest: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"


Uri: TypeAlias = SipUri | TelUri | OtherUri


def parse_uri(text: str) -> Uri:
    """Parse any absolute URI. Raises UriError (400)."""
    known = _uris.get(text)
    if known is None:
        known = _parse(text)
        if len(text) <= MAX_REMEMBERED_URI:
            remember(_uris, text, known, MAX_REMEMBERED_URIS)
    return known


_uris: Final[dict[str, Uri]] = {}


def _parse(text: str) -> Uri:
    scheme, colon, rest = text.partition(":")
    scheme = scheme.strip().lower()
    if not colon or not scheme or not scheme[0].isalpha() or not rest:
        raise UriError(400, "URI without a scheme")
    try:
        if scheme in {"sip", "sips"}:
            return _parse_sip(scheme, rest)
        if scheme == "tel":
            number, semicolon, params = rest.partition(";")
            if not number:
                raise UriError(400, "tel URI without a number")
            return TelUri(number, parse_params(params) if semicolon else ())
    except UriError:
        raise
    except SipParseError as error:
        raise UriError(error.status, error.reason) from None
    return OtherUri(scheme, rest)


def _parse_sip(scheme: str, rest: str) -> SipUri:
    if _FORBIDDEN(rest) is not None:
        raise UriError(400, "Character not allowed in a URI")
    user: str | None = None
    password: str | None = None
    # §25.1: "@" cannot stand in host, params or headers unescaped, so the first one ends the userinfo.
    userinfo, at, host_part = rest.partition("@")
    if at:
        if "@" in host_part:
            raise UriError(400, "Two @ in a URI")
        user, colon, password_text = userinfo.partition(":")
        password = password_text if colon else None
        if not user:
            raise UriError(400, "Empty user in a URI")
    else:
        host_part = rest
    host_part, _, headers = host_part.partition("?")
    host_text, semicolon, params = host_part.partition(";")
    host, port = parse_host_port(host_text)
    return SipUri(scheme, user, password, host, port, parse_params(params) if semicolon else (), headers)

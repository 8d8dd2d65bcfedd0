"""Where Redis is: one server, a primary that Sentinel names, or a cluster; and as whom we come there.

    redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]            one server; rediss:// over TLS
    unix://[USER[:PASSWORD]@]/PATH[?db=DATABASE]                one server on this machine
    redis+sentinel://[USER[:PASSWORD]@]HOST[:PORT],…/NAME[/DATABASE]    rediss+sentinel:// over TLS
    redis+cluster://[USER[:PASSWORD]@]HOST[:PORT],…             rediss+cluster:// over TLS

User and password are percent-encoded where they have to be; those of Sentinels themselves are separate. No
error and no repr shows either.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from redis.asyncio import ConnectionPool

Kind: TypeAlias = Literal["single", "sentinel", "cluster"]

SENTINEL_PORT: Final = 26379
REDIS_PORT: Final = 6379

MAX_HOSTS: Final = 64
"""Servers in one URL: each may be asked in turn, and the rest is found out from any of them."""

MAX_NAME: Final = 256
"""Characters of a primary's name."""

SCHEMES: Final[dict[str, tuple[Kind, bool]]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "unix": ("single", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
"""What a URL's scheme means, and whether it is encrypted."""


class RedisUrlError(ValueError):
    """A URL cannot be used; the message says what to write, and nothing that was written."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: who vouches for Redis (None: the system's authorities), and who we are, if it asks."""

    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """A parsed URL, with what is configured beside it.

    url: as it was, for `single`. hosts: of Sentinels or of the cluster. name: of the primary, for Sentinel.
    """

    kind: Kind
    tls: bool
    url: str = field(repr=False)
    hosts: tuple[tuple[str, int], ...] = ()
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    name: str = ""
    database: int = 0
    files: TlsFiles = TlsFiles()
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """For people: the sort, and where, without user and password."""
        if self.kind == "single":
            parts = urlsplit(self.url)
            where = parts.netloc.rpartition("@")[2] or parts.path
            return f"{'TLS, ' if self.tls else ''}{where}"
        where = ", ".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts
        )
        named = f" {self.name}" if self.name else ""
        return f"{self.kind}{named}{', TLS' if self.tls else ''}, {where}"


def parse_place(
    url: str, files: TlsFiles = TlsFiles(), *, sentinel_username: str = "", sentinel_password: str = ""
) -> RedisPlace:
    """Where a URL leads. Raises RedisUrlError."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        raise RedisUrlError(f"write it as one of {', '.join(f'{each}://…' for each in SCHEMES)}")
    kind, tls = SCHEMES[scheme.lower()]
    if kind == "single":
        _check_single(url)
        return RedisPlace(kind, tls, url, files=files)
    authority, _, path = rest.partition("/")
    if "?" in rest or "#" in rest:
        raise RedisUrlError(f"a {scheme} URL takes no ? and no #: percent-encode them in a password")
    credentials, at, listed = authority.rpartition("@")
    username, _, password = credentials.partition(":")
    default_port = SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
    hosts = tuple(_host(each.strip(), default_port) for each in listed.split(","))
    if len(hosts) > MAX_HOSTS:
        raise RedisUrlError(f"name at most {MAX_HOSTS} servers: the others are found out")
    name, database = _primary(path) if kind == "sentinel" else _nothing(path)
    return RedisPlace(
        kind,
        tls,
        url,
        hosts,
        unquote(username) or None if at else None,
        unquote(password) or None if at else None,
        name,
        database,
        files,
        sentinel_username or None,
        sentinel_password or None,
    )


def _check_single(url: str) -> None:
    """What redis-py would make of it; its own words may hold a piece of the password."""
    try:
        parts = urlsplit(url)
        port, place = parts.port, parts.hostname or parts.path
        ConnectionPool.from_url(url)
    except (ValueError, TypeError):
        port, place = None, ""
    if not place or port == 0:
        raise RedisUrlError(
            "write it as redis://user:password@host:6379/0 or unix:///path; / ? # @ : in a password are"
            " percent-encoded"
        )


def _host(text: str, default_port: int) -> tuple[str, int]:
    """One of a list: a name or an address, IPv6 in brackets, with or without a port."""
    host, port = text, ""
    if text.startswith("["):
        host, closed, behind = text[1:].partition("]")
        host, port = host if closed else "", behind.removeprefix(":")
    elif ":" in text:
        host, _, port = text.partition(":")
    usable = (
        host and "[" not in host and " " not in host and (port == "" or (port.isascii() and port.isdigit()))
    )
    if not usable or not 0 < int(port or default_port) < 65_536:
        raise RedisUrlError(
            "after @ write servers as host:port,host:port; / ? # @ : , in a password are percent-encoded"
        )
    return host, int(port or default_port)


def _primary(path: str) -> tuple[str, int]:
    """Name and database."""
    name, _, database = path.partition("/")
    if not name or len(name) > MAX_NAME:
        raise RedisUrlError("after the Sentinels write /NAME, as in `sentinel monitor NAME …`")
    if database and not (database.isascii() and database.isdigit() and len(database) < 6):
        raise RedisUrlError("after the primary's name write /DATABASE, a number, or nothing")
    return unquote(name), int(database or 0)


def _nothing(path: str) -> tuple[str, int]:
    if path not in {"", "0"}:
        raise RedisUrlError("a cluster has database 0 alone: write nothing after the servers")
    return "", 0

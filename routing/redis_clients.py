"""Three ways to the same Redis: on the call path, in the background, and waiting for changes.

Whether it is one server, a primary that Sentinel names or a cluster (`routing.redis_place`): the clients are
redis-py's, and its defaults wait for seconds on a refused port and for a minute on a silent server. Every
time limit is explicit here, and the protocol is pinned, since the shapes of answers differ.

Cancellation needs help: redis-py writes within `asyncio.wait_for`, which before Python 3.12 drops a
cancellation that comes in the turn of the loop in which the write ends (cpython issue 86296). A task that
follows Redis for ever could then not be stopped, and a time limit around a command would not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Final, cast

from redis.asyncio import (
    Connection,
    ConnectionPool,
    Redis,
    RedisCluster,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.cluster import ClusterNode, ClusterPipeline
from redis.asyncio.connection import AbstractConnection, RedisSSLContext
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException

from routing.redis_place import RedisPlace, TlsFiles, parse_place

HOT_TIMEOUT: Final = 0.2
"""Seconds on the call path: a caller waits."""

BACKGROUND_TIMEOUT: Final = 5.0
"""Seconds for loading and writing."""

FOLLOW_WAIT: Final = 1.0
"""Seconds that following the log waits for a change before it looks whether the data set is still the
same."""

FOLLOW_TIMEOUT: Final = FOLLOW_WAIT + 2.0

SENTINEL_TIMEOUT: Final = 0.5
"""Seconds, at most, for one Sentinel to name the primary: then the next one is asked."""

TLS_AGE: Final = 600.0
"""Seconds after which a new connection reads the PEM files again: certificates are renewed."""


class _Cancellable(AbstractConnection):
    """Passes on the cancellations that the write swallows."""

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        task = asyncio.current_task()
        requests = task.cancelling() if task else 0
        await super().send_packed_command(command, check_health)
        if task and task.cancelling() > requests:
            await self.disconnect(nowait=True)  # nobody will read the answer
            raise asyncio.CancelledError


class _TcpConnection(_Cancellable, Connection):
    """Plain TCP."""


class _TcpTls(SSLConnection):
    """TLS, with what all connections share."""

    def _connection_arguments(self) -> Mapping[str, Any]:
        self.ssl_context.context = _shared_context(self.ssl_context)
        arguments: Mapping[str, Any] = super()._connection_arguments()
        return arguments


class _TlsConnection(_Cancellable, _TcpTls):
    """TLS."""


class _UnixConnection(_Cancellable, UnixDomainSocketConnection):
    """A unix socket."""


class _SentinelConnection(_Cancellable, SentinelManagedConnection):
    """Plain TCP to whom Sentinel names."""


class _SentinelTlsConnection(_Cancellable, SentinelManagedConnection, _TcpTls):
    """TLS to whom Sentinel names."""


_CONNECTIONS: Final = {
    Connection: _TcpConnection,
    SSLConnection: _TlsConnection,
    UnixDomainSocketConnection: _UnixConnection,
}
"""What a URL asks for, and what it gets."""

_contexts: dict[tuple[object, ...], tuple[float, ssl.SSLContext]] = {}
"""By what they were made from, and when: there are as many as configurations in this process."""


def _shared_context(wanted: RedisSSLContext) -> ssl.SSLContext:
    """One for all connections that want the same: reading authorities takes some milliseconds."""
    key = (wanted.ca_certs, wanted.certfile, wanted.keyfile, wanted.cert_reqs, wanted.check_hostname)
    made_at, context = _contexts.get(key, (float("-inf"), None))
    now = time.monotonic()
    if context is None or now - made_at >= TLS_AGE:
        wanted.context = None
        context = wanted.get()
        _contexts[key] = (now, context)
    return context


class _SentinelRedis(Redis):
    """Closes what it asked the Sentinels by, too."""

    sentinels: Sentinel

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        await self.sentinels.aclose()


@contextlib.contextmanager
def _told_as_redis_does() -> Iterator[None]:
    """What redis-py says of a cluster as a whole is no RedisError of its own: make it one, as all expect."""
    try:
        yield
    except RedisClusterException as error:
        raise RedisConnectionError(str(error)) from error


class _ClusterPipeline(ClusterPipeline):
    """Fails as other pipelines do."""

    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        with _told_as_redis_does():
            return await super().execute(raise_on_error, allow_redirections)


class _ClusterRedis(RedisCluster):
    """With connections of ours; fails as a single server does."""

    def __init__(self, connection: type[Connection], **options: Any) -> None:
        super().__init__(**options)
        self._made: weakref.WeakSet[Connection] = weakref.WeakSet()

        def make(**arguments: Any) -> Connection:
            made = connection(**arguments)
            self._made.add(made)
            return made

        self.connection_kwargs["connection_class"] = make  # the dictionary is shared with all it makes
        for node in self.startup_nodes:
            node.connection_class = make  # type: ignore[assignment]  # it is only ever called

    async def initialize(self, *args: Any, **kwargs: Any) -> RedisCluster:
        try:
            return await super().initialize(*args, **kwargs)
        except BaseException:
            await self._disconnect()  # servers that it had heard of, and did not come to remember
            raise

    async def aclose(self) -> None:
        await super().aclose()
        await self._disconnect()

    async def _disconnect(self) -> None:
        for connection in list(self._made):
            await connection.disconnect(nowait=True)

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        with _told_as_redis_does():
            return await super().execute_command(*args, **kwargs)

    def pipeline(self, transaction: Any | None = None, shard_hint: Any | None = None) -> ClusterPipeline:
        return _ClusterPipeline(self, transaction)  # type: ignore[abstract]  # redis-py's own is, too


def connect(place: RedisPlace | str, timeout: float) -> Redis:
    """A client whose every operation ends within `timeout` seconds; nothing is contacted yet.

    place: parsed, or a URL. A client of a cluster has the same methods, and takes commands on keys alone.
    """
    where = parse_place(place) if isinstance(place, str) else place
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "decode_responses": False,
        # Else each new connection looks redis-py's version up on disk, and tells it in two further commands.
        "driver_info": None,
    }
    if where.tls:
        options |= _tls_options(where.files)
    match where.kind:
        case "single":
            pool: Any = ConnectionPool.from_url(where.url, **options)
            pool.connection_class = _CONNECTIONS[pool.connection_class]
            return Redis.from_pool(pool)
        case "sentinel":
            return _by_sentinel(where, options)
        case "cluster":
            return _of_cluster(where, options)


def _tls_options(files: TlsFiles) -> dict[str, str]:
    named = {"ssl_ca_certs": files.ca_file, "ssl_certfile": files.certificate, "ssl_keyfile": files.key}
    return {option: str(file) for option, file in named.items() if file is not None}


def _by_sentinel(place: RedisPlace, options: dict[str, Any]) -> Redis:
    """A client of the primary, wherever it is: asked for anew with each connection."""
    patience = min(options["socket_timeout"], SENTINEL_TIMEOUT)
    brief = options | {"socket_timeout": patience, "socket_connect_timeout": patience}
    as_whom = {"username": place.sentinel_username, "password": place.sentinel_password}
    sentinels: Any = Sentinel([])  # type: ignore[no-untyped-call]  # redis-py tells no types here
    for host, port in place.hosts:
        asked = ConnectionPool(
            connection_class=_TlsConnection if place.tls else _TcpConnection,
            **(brief | as_whom | {"host": host, "port": port}),
        )
        sentinels.sentinels.append(Redis.from_pool(asked))
    pool: Any = SentinelConnectionPool(  # type: ignore[no-untyped-call]  # as above
        place.name,
        sentinels,
        connection_class=_SentinelTlsConnection if place.tls else _SentinelConnection,
        **(options | {"username": place.username, "password": place.password, "db": place.database}),
    )
    client = cast("_SentinelRedis", _SentinelRedis.from_pool(pool))
    client.sentinels = sentinels
    return client


def _of_cluster(place: RedisPlace, options: dict[str, Any]) -> Redis:
    """A client of all its servers; a part of the slots that is down does not keep the others from serving."""
    nodes = [ClusterNode("127.0.0.1" if host == "localhost" else host, port) for host, port in place.hosts]
    client: Any = _ClusterRedis(
        _TlsConnection if place.tls else _TcpConnection,
        startup_nodes=nodes,
        require_full_coverage=False,
        username=place.username,
        password=place.password,
        ssl=place.tls,
        **options,
    )
    return cast("Redis", client)


@contextlib.asynccontextmanager
async def connected(place: RedisPlace | str, timeout: float) -> AsyncIterator[Redis]:
    """The same for a moment: whatever happens inside, and however it is cancelled, it is closed after."""
    client = connect(place, timeout)
    try:
        yield client
    finally:
        closing = asyncio.create_task(client.aclose())
        # A cancelled aclose would leave its connections to the garbage collector.
        await asyncio.shield(closing)

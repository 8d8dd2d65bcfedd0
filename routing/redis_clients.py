"""Three ways to the same Redis: on the call path, in the background, and waiting for changes.

redis-py's defaults wait for seconds on a refused port and for a minute on a silent server: every time limit
is explicit here, and the protocol is pinned, since the shapes of answers differ.

Cancellation needs help: redis-py writes within `asyncio.wait_for`, which before Python 3.12 drops a
cancellation that comes in the turn of the loop in which the write ends (cpython issue 86296). A task that
follows Redis for ever could then not be stopped, and a time limit around a command would not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

HOT_TIMEOUT: Final = 0.2
"""Seconds on the call path: a caller waits."""

BACKGROUND_TIMEOUT: Final = 5.0
"""Seconds for loading and writing."""

FOLLOW_WAIT: Final = 1.0
"""Seconds that following the log waits for a change before it looks whether the data set is still the
same."""

FOLLOW_TIMEOUT: Final = FOLLOW_WAIT + 2.0


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


class _TlsConnection(_Cancellable, SSLConnection):
    """TLS."""


class _UnixConnection(_Cancellable, UnixDomainSocketConnection):
    """A unix socket."""


_CONNECTIONS: Final = {
    Connection: _TcpConnection,
    SSLConnection: _TlsConnection,
    UnixDomainSocketConnection: _UnixConnection,
}
"""What a URL asks for, and what it gets."""


def connect(url: str, timeout: float) -> Redis:
    """A client whose every operation ends within `timeout` seconds; nothing is contacted yet.

    url: ``redis://…``, ``rediss://…`` or ``unix://…``.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "decode_responses": False,
        # Else each new connection looks redis-py's version up on disk, and tells it in two further commands.
        "driver_info": None,
    }
    pool: Any = ConnectionPool.from_url(url, **options)
    pool.connection_class = _CONNECTIONS[pool.connection_class]
    client: Redis = Redis.from_pool(pool)
    return client


@contextlib.asynccontextmanager
async def connected(url: str, timeout: float) -> AsyncIterator[Redis]:
    """The same for a moment: whatever happens inside, and however it is cancelled, it is closed after."""
    client = connect(url, timeout)
    try:
        yield client
    finally:
        closing = asyncio.create_task(client.aclose())
        # A cancelled aclose would leave its connections to the garbage collector.
        await asyncio.shield(closing)

"""Three ways to the same Redis: on the call path, in the background, and waiting for changes.

redis-py's defaults wait for seconds on a refused port and for a minute on a silent server: every time limit
is explicit here, and the protocol is pinned, since the shapes of answers differ.
"""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio import Redis
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
    client: Redis = Redis.from_url(url, **options)
    return client

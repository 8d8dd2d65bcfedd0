"""What `voice-gateway check` finds out about a Redis: that it takes writes, in time, and keeps them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import Any, Final

from redis.exceptions import RedisError

from routing.redis_clients import BACKGROUND_TIMEOUT, HOT_TIMEOUT, connected
from routing.redis_place import RedisPlace
from routing.redis_trouble import FIXES, trouble_of

SECONDS: Final = 2 * BACKGROUND_TIMEOUT
"""For all of it: Sentinels or a cluster are asked first who has what."""


async def examine(place: RedisPlace) -> tuple[str, str]:
    """What was found, for people, and what to do about it: empty if all is well. Raises nothing."""
    try:
        async with asyncio.timeout(SECONDS), connected(place, BACKGROUND_TIMEOUT) as redis:
            client: Any = redis
            key = f"{{vg}}:check-{secrets.token_hex(4)}"
            await client.set(key, b"1", px=1000)
            began = time.monotonic()
            await client.set(key, b"2", px=1000)
            seconds = time.monotonic() - began
            policy = await _policy(client)
    except (RedisError, OSError, TimeoutError) as error:
        trouble = trouble_of(error)
        return f"redis.url: {trouble.text}", trouble.fix
    if seconds >= HOT_TIMEOUT:
        return f"{place.shown}: takes {seconds * 1000:.0f} ms to answer", FIXES["slow"]
    if policy not in {"", "noeviction"}:
        fix = "set it to noeviction: else a full Redis throws routes away to make room"
        return f"{place.shown}: maxmemory-policy is {policy}", fix
    return f"{place.shown}: takes writes", ""


async def _policy(client: Any) -> str:
    """What it does when it is full, if there is a limit, and if we may know."""
    with contextlib.suppress(RedisError):
        told = await client.info("memory")
        if isinstance(told, dict) and told.get("maxmemory"):
            return str(told.get("maxmemory_policy", ""))
    return ""

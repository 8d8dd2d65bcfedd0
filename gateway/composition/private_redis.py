"""The redis-server that a gateway without `redis.url` brings along."""

from __future__ import annotations

import structlog

from gateway.composition.background import Background
from gateway.config import Settings
from routing.redis_server import EmbeddedRedis

log = structlog.get_logger("gateway")


async def start_private_redis(settings: Settings, background: Background) -> None:
    """Start it, in the data directory. Raises RedisUnavailable."""
    server = EmbeddedRedis(settings.data.dir, lambda text: log.warning("redis", detail=text))
    await server.start()
    background.push_async_callback(server.stop)

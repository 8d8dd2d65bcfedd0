"""Where this configuration's Redis is, and as whom we come there."""

from __future__ import annotations

from gateway.config import Settings
from routing.redis_place import RedisPlace, parse_place
from routing.redis_server import socket_url


def redis_place(settings: Settings) -> RedisPlace:
    """As configured; without a URL the private server of the data directory, whether or not it runs."""
    redis = settings.redis
    url = redis.url.get_secret_value() or socket_url(settings.data.dir)
    return parse_place(
        url,
        redis.tls_files,
        sentinel_username=redis.sentinel_username,
        sentinel_password=redis.sentinel_password.get_secret_value(),
    )

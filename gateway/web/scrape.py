"""`/metrics`, written a family at a time: between two of them the event loop does what is due.

All of it at once takes longer than audio may be late: 13 ms with a gateway's metrics on a slow core, every
time that Prometheus asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

_END: Final = b"# EOF\n"
"""Of OpenMetrics, once; the older format has none."""


class _Family(Collector):
    """One of many, as the library's encoders want it."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


def scrape_handler(registry: CollectorRegistry) -> Callable[[web.Request], Awaitable[web.Response]]:
    """What answers a scrape, in the format that it asks for; `name[]` in the query chooses families."""

    async def scrape(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        names = request.query.getall("name[]", [])
        parts: list[bytes] = []
        end = b""
        for metric in (registry.restricted_registry(names) if names else registry).collect():
            part = encode(_Family(metric))
            if part.endswith(_END):
                part, end = part.removesuffix(_END), _END
            parts.append(part)
            await asyncio.sleep(0)
        response = web.Response(body=b"".join(parts) + end, headers={"Content-Type": content_type})
        response.enable_compression()  # what the client accepts, in a thread
        return response

    return scrape

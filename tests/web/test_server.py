"""Metrics, health and readiness over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from gateway.telemetry.metrics import Metrics
from gateway.web.server import PortTaken, WebServer, make_app


class Site:
    def __init__(self) -> None:
        self.metrics = Metrics()
        self.obstacles: list[str] = []
        self.refreshed = 0
        self.server = WebServer(
            make_app(self.metrics.registry, lambda: self.obstacles, self._refresh), "127.0.0.1", 0
        )

    def _refresh(self) -> None:
        self.refreshed += 1

    async def get(self, path: str) -> tuple[int, str, str]:
        host, port = self.server.address
        async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}{path}") as response:
            return response.status, response.content_type, await response.text()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.server.start()
    yield site
    await site.server.stop()


async def test_metrics_are_refreshed_before_each_scrape(site: Site) -> None:
    site.metrics.dropped("unknown_source")
    status, content_type, text = await site.get("/metrics")
    assert (status, content_type, site.refreshed) == (200, "text/plain", 1)
    assert 'gateway_sip_dropped_total{reason="unknown_source"} 1.0' in text


async def test_ready_says_why_it_is_not(site: Site) -> None:
    assert (await site.get("/readyz"))[0] == 200
    site.obstacles = ["draining", "no routes"]
    status, _, text = await site.get("/readyz")
    assert status == 503
    assert '"reasons":["draining","no routes"]' in text
    assert (await site.get("/healthz"))[0] == 200


async def test_unknown_paths_are_404(site: Site) -> None:
    assert (await site.get("/nothing"))[0] == 404


async def test_a_taken_port_is_one_line_that_names_the_key(site: Site) -> None:
    host, port = site.server.address
    second = WebServer(make_app(Metrics().registry, list, lambda: None), host, port)
    with pytest.raises(PortTaken, match=rf"web\.listen: cannot listen on {host}:{port}"):
        await second.start()

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gateway.web.server import WebServer, make_app


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("calls", "Calls.", ["outcome"], registry=registry).labels("agent").inc()
    Histogram("seconds", "How long.", registry=registry).observe(0.1)
    return registry


@pytest.fixture
async def url(registry: CollectorRegistry) -> AsyncIterator[str]:
    server = WebServer(make_app(registry, list, lambda: None), "127.0.0.1", 0)
    await server.start()
    host, port = server.address
    yield f"http://{host}:{port}/metrics"
    await server.stop()


async def got(url: str, **headers: str) -> tuple[str, bytes]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == 200
        return response.headers["Content-Type"], await response.read()


async def test_all_families_as_if_written_at_once(url: str, registry: CollectorRegistry) -> None:
    content_type, body = await got(url)
    assert content_type.startswith("text/plain; version=0.0.4")
    assert body == generate_latest(registry)


async def test_openmetrics_has_one_end(url: str, registry: CollectorRegistry) -> None:
    _, body = await got(url, Accept="application/openmetrics-text; version=1.0.0")
    assert body == generate_openmetrics(registry, version="1.0.0")
    assert len(list(text_string_to_metric_families(body.decode()))) == 2


async def test_a_query_chooses_families(url: str) -> None:
    _, body = await got(url + "?name[]=calls_total")
    assert b"calls_total" in body
    assert b"seconds" not in body


async def test_others_have_their_turn_between_families(registry: CollectorRegistry) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    from aiohttp.test_utils import make_mocked_request

    from gateway.web.scrape import scrape_handler

    other = asyncio.ensure_future(count())
    await scrape_handler(registry)(make_mocked_request("GET", "/metrics"))
    other.cancel()
    assert turns >= 2

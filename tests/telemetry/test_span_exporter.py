"""Traces on their way: in batches, kept while the collector is away, given up in order, never waited for."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.telemetry import span_exporter
from gateway.telemetry.span_exporter import SpanExporter
from gateway.telemetry.spans import Span, Trace


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_exporter, "GATHER_SECONDS", 0.0)
    monkeypatch.setattr(span_exporter, "PAUSES", (0.01,))


class Collector:
    """Answers with what it is told to, once each, then with 200; keeps what it was sent."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.traces: list[str] = []
        self.headers: list[str] = []
        self.asked = 0

    async def take(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.headers.append(request.headers.get("Authorization", ""))
        status = self.answers.pop(0) if self.answers else 200
        spans = json.loads(await request.read())["resourceSpans"][0]["scopeSpans"][0]["spans"]
        if status == 200:
            self.traces += [span["traceId"] for span in spans]
        return web.Response(status=status)


class Running:
    """An exporter at work, what it counted, and what it complained of."""

    def __init__(self, url: str) -> None:
        self.counts: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.changed = asyncio.Event()
        self.exporter = SpanExporter(
            url,
            {"Authorization": "Bearer x"},
            {"service.name": "test"},
            count=self._count,
            on_error=self._complain,
        )
        self.task = asyncio.create_task(self.exporter.run())

    def put(self, number: int) -> None:
        self.exporter.put(Trace(f"{number:032x}", [Span("call", "0" * 16, "", 1.0, ended=2.0)]))

    def _count(self, result: str, number: int) -> None:
        self.counts[result] += number
        self.changed.set()

    def _complain(self, text: str) -> None:
        self.complaints.append(text)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def counted(self, result: str, number: int) -> None:
        await self.until(lambda: self.counts[result] >= number)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@asynccontextmanager
async def exporting(collector: Collector) -> AsyncIterator[Running]:
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    async with TestServer(app) as server:
        running = Running(str(server.make_url("/")))
        yield running
        await running.stop()


async def test_traces_arrive_once_with_the_key() -> None:
    collector = Collector()
    async with exporting(collector) as running:
        for number in range(3):
            running.put(number)
        await running.counted("exported", 3)
    assert collector.traces == [f"{number:032x}" for number in range(3)]
    assert set(collector.headers) == {"Bearer x"}
    assert not running.complaints


async def test_a_collector_that_is_busy_is_asked_again_in_order() -> None:
    collector = Collector(503, 429)
    async with exporting(collector) as running:
        running.put(1)
        await running.counted("exported", 1)
        running.put(2)
        await running.counted("exported", 2)
    assert collector.traces == [f"{1:032x}", f"{2:032x}"]
    assert running.complaints == ["the collector answers 503", "the collector answers 429"]


async def test_what_a_collector_refuses_is_not_tried_again() -> None:
    collector = Collector(400)
    async with exporting(collector) as running:
        running.put(1)
        await running.counted("refused", 1)
        running.put(2)
        await running.counted("exported", 1)
    assert collector.traces == [f"{2:032x}"]


async def test_a_collector_that_is_away_costs_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_exporter, "MAX_WAITING", 5)
    running = Running("http://127.0.0.1:1")
    for number in range(8):
        running.put(number)
    await running.counted("dropped", 3)
    await running.until(lambda: bool(running.complaints))
    for number in range(8, 10):
        running.put(number)
    await running.stop()
    assert running.counts == {"dropped": 5}
    assert len(running.complaints) == 1


async def test_what_is_left_goes_out_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_exporter, "GATHER_SECONDS", 3600.0)
    monkeypatch.setattr(span_exporter, "BATCH", 2)
    collector = Collector()
    async with exporting(collector) as running:
        await asyncio.sleep(0)
        for number in range(5):
            running.put(number)
        await asyncio.sleep(0)
        await running.stop()
    assert len(collector.traces) == 5
    assert collector.asked == 3

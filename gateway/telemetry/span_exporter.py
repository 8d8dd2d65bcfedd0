"""Brings traces to a collector, in batches, beside the calls: it may be slow or away, nobody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp

from gateway.telemetry.otlp import encode
from gateway.telemetry.spans import Attribute, Trace

MAX_WAITING: Final = 2_000
"""Traces that wait for the collector, some 6 MB; then the oldest go, and are counted."""

BATCH: Final = 200
"""Traces in one request: half a megabyte, encoded in some ten milliseconds."""

GATHER_SECONDS: Final = 1.0
"""For which traces are gathered: a request each second, however many calls end."""

REQUEST_SECONDS: Final = 10.0
PAUSES: Final = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Seconds until it is tried again; the last one from then on."""

LAST_WORDS_SECONDS: Final = 2.0
"""For what is left when the gateway ends."""

PASSING: Final = frozenset({408, 429, 502, 503, 504})
"""Answers after which the same request may succeed (OTLP 1.5, "Retryable response codes", and 408)."""


class SpanExporter:
    """Takes traces, and posts them to `/v1/traces`.

    Args:
        endpoint: the collector's HTTP endpoint, `http://127.0.0.1:4318`.
        headers: sent with each request: `Authorization`, say.
        resource: who we are.
        count: told how many traces were `exported`, `refused` by the collector, or `dropped` before.
        on_error: told what the collector said, the same thing once.

    """

    def __init__(
        self,
        endpoint: str,
        headers: Mapping[str, str],
        resource: Mapping[str, Attribute],
        *,
        count: Callable[[str, int], None],
        on_error: Callable[[str], None],
    ) -> None:
        self._url = f"{endpoint.rstrip('/')}/v1/traces"
        self._headers = {**headers, "Content-Type": "application/json"}
        self._resource = resource
        self._count = count
        self._on_error = on_error
        self._waiting: deque[Trace] = deque()
        self._some = asyncio.Event()
        self._told = ""
        self._failures = 0

    def put(self, trace: Trace) -> None:
        """Take a trace. Never blocks, never raises."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self._count("dropped", 1)
        self._waiting.append(trace)
        self._some.set()

    async def run(self) -> None:
        """Export for as long as the task lives; when it ends, once more what is left."""
        async with aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        ) as session:
            try:
                while True:
                    await self._some.wait()
                    await asyncio.sleep(GATHER_SECONDS)
                    await self._export(session)
                    if self._failures:
                        await asyncio.sleep(PAUSES[min(self._failures, len(PAUSES)) - 1])
            finally:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WORDS_SECONDS):
                        while self._waiting and await self._export(session):
                            continue

    async def _export(self, session: aiohttp.ClientSession) -> bool:
        """Post one batch; whether another one may follow."""
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        if not batch:
            self._some.clear()
            return True
        try:
            async with session.post(
                self._url, data=encode(batch, self._resource), headers=self._headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._again(batch, str(error) or "no answer in time")
            return False
        except asyncio.CancelledError:
            self._put_back(batch)
            raise
        if status in PASSING:
            self._again(batch, f"the collector answers {status}")
            return False
        self._failures = 0
        if status >= 300:
            self._tell(f"the collector refuses traces with {status}")
            self._count("refused", len(batch))
            return True
        self._tell("")
        self._count("exported", len(batch))
        return True

    def _again(self, batch: list[Trace], fault: str) -> None:
        self._failures += 1
        self._tell(fault)
        self._put_back(batch)

    def _put_back(self, batch: list[Trace]) -> None:
        room = MAX_WAITING - len(self._waiting)
        kept = batch[len(batch) - room :] if room < len(batch) else batch
        if len(kept) < len(batch):
            self._count("dropped", len(batch) - len(kept))
        self._waiting.extendleft(reversed(kept))

    def _tell(self, fault: str) -> None:
        if fault and fault != self._told:
            self._on_error(fault)
        self._told = fault

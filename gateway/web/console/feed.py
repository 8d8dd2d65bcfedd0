"""Live calls by server-sent events: what has changed, once a second, to a bounded number of browsers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
from aiohttp import web

from gateway.web.console.desk import Desk, LiveRow

MAX_WATCHERS: Final = 32
"""Browsers that watch at once; further ones are told to try again, and their page shows what it had."""

BEAT_SECONDS: Final = 1.0

MAX_ROWS: Final = 1_000
"""Calls in the list: the newest. Nobody reads more."""

STALL_SECONDS: Final = 10.0
"""For a browser to take what is sent."""

WATCH_SECONDS: Final = 600.0
"""After which a browser must come again, and show that it is still logged in."""

RETRY_MILLISECONDS: Final = 3_000

_encoder: Final = msgspec.json.Encoder()


class Feed:
    """Tells browsers of live calls.

    Args:
        desk: has them.
        clock: seconds, monotonic.

    """

    def __init__(self, desk: Desk, clock: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
        self._clock = clock
        self._watchers = 0
        self._looking = asyncio.Lock()
        self._at = float("-inf")
        self._rows: dict[str, LiveRow] = {}
        self._total = 0

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """Serve one browser until it leaves, or stalls, or has watched for long."""
        if self._watchers >= MAX_WATCHERS:
            return web.Response(status=503, text="too many browsers watch", headers={"Retry-After": "5"})
        self._watchers += 1
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        try:
            await response.prepare(request)
            async for message in self._messages():
                async with asyncio.timeout(STALL_SECONDS):
                    await response.write(message)
        except (TimeoutError, ConnectionError):
            pass
        finally:
            self._watchers -= 1
        return response

    async def _messages(self) -> AsyncIterator[bytes]:
        yield b"retry: %d\n\n" % RETRY_MILLISECONDS
        known: dict[str, LiveRow] = {}
        until = self._clock() + WATCH_SECONDS
        while self._clock() < until:
            rows = await self._now()
            changed = [row for row in rows.values() if known.get(row.id) != row]
            gone = [call_id for call_id in known if call_id not in rows]
            told = {"rows": changed, "gone": gone, "total": self._total, "draining": self._desk.draining}
            yield b"data: " + _encoder.encode(told) + b"\n\n"
            known = rows
            with contextlib.suppress(TimeoutError):
                await asyncio.sleep(BEAT_SECONDS)

    async def _now(self) -> dict[str, LiveRow]:
        """The calls of this beat, looked up once for all browsers."""
        async with self._looking:
            if self._clock() - self._at >= BEAT_SECONDS / 2:
                rows = await self._desk.rows()
                self._total = len(rows)
                self._rows = {row.id: row for row in rows[:MAX_ROWS]}
                self._at = self._clock()
            return self._rows

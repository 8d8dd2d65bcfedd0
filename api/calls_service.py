"""Calls' history and operations alone, for a gateway whose routes come from a file or from elsewhere.

It has a store of its own, in the data directory, and no API keys but those it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

from api.access import Principal
from api.api_keys import KeyRing
from api.call_history import CallHistory
from api.calls import Calls
from api.idempotency import Replays
from api.live_gateway import LiveGateway
from api.metrics import ApiMetrics
from api.nodes import NodeDirectory, Nodes
from api.openapi import document_of
from api.pipeline import Pipeline
from api.reference_pages import ReferencePages
from api.secret_box import KEY_BYTES, SecretBox
from api.store.database import StoreUnavailable
from api.store.schema import SchemaError
from api.web import install
from routing.call_records import CallShown

log = structlog.get_logger("api")

FILE: Final = "calls.sqlite"
"""In the data directory."""

BATCH: Final = 500
"""Calls in one transaction."""

WRITE_SECONDS: Final = 2.0
"""Between transactions: one costs as much as keeping fifty calls."""

MAX_WAITING: Final = 10_000
"""Calls that wait for a disk that does not answer, some 20 MB; then the oldest are not kept."""

CLEANING_SECONDS: Final = 60.0

RETRY_SECONDS: Final = 5.0


class CallsService:
    """Serves the operations on calls once it is open and installed.

    Args:
        directory: of data.
        version: of the product.
        keys: that may do everything.
        node: the gateway of this process; nodes: who knows all gateways; None if nobody does.
        history: what is kept.
        rate_limit: requests a second for each key.
        metrics: counts.

    """

    def __init__(
        self,
        directory: Path,
        *,
        version: str,
        keys: Sequence[str],
        node: LiveGateway,
        history: CallHistory,
        rate_limit: float,
        metrics: ApiMetrics,
        nodes: NodeDirectory | None = None,
    ) -> None:
        self._directory = directory
        self._given_keys = keys
        self._node = node
        self._nodes = nodes
        self._history = history
        self._version = version
        self._rate_limit = rate_limit
        self._metrics = metrics
        self._waiting: deque[CallShown] = deque(maxlen=MAX_WAITING)
        self._writing = asyncio.Lock()
        self._exit = AsyncExitStack()

    async def open(self) -> None:
        """Open the store. Raises StoreUnavailable, SchemaError or OSError."""
        from api.store.sqlite import SqliteDatabase

        self._database = await asyncio.to_thread(SqliteDatabase, self._directory / FILE)
        self._exit.push_async_callback(self._database.close)
        self.keys = KeyRing(self._database)
        for key in self._given_keys:
            self.keys.admit(key, Principal("operator", frozenset({"read", "write"})))
        self.calls = Calls(self._database, self._history, self._node, self.flush)
        try:
            await self._database.open()
        except (StoreUnavailable, SchemaError, OSError):
            await self._exit.aclose()
            raise

    async def install(self, app: web.Application) -> None:
        """Serve the operations and their description; before the application starts."""
        replays = Replays(SecretBox([secrets.token_bytes(KEY_BYTES)]))
        pipeline = Pipeline(self._database, self.keys, replays, self._metrics, rate=self._rate_limit)
        operations = self.calls.operations()
        if self._nodes is not None:
            operations += Nodes(self._nodes).operations()
        install(app, operations, pipeline)
        pages = await asyncio.to_thread(ReferencePages, document_of(operations, self._version))
        pages.install(app)

    def put(self, call: CallShown) -> None:
        """Take a call that is over. Never blocks, never raises."""
        self._waiting.append(call)

    async def run(self) -> None:
        """Write until cancelled."""
        cleaned = -CLEANING_SECONDS
        told = ""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await self.flush()
                if time.monotonic() - cleaned >= CLEANING_SECONDS:
                    await self._database.write(self._history.forget_old)
                    cleaned = time.monotonic()
                told = ""
            except StoreUnavailable as error:
                if str(error) != told:
                    told = str(error)
                    log.error("history not written", detail=told, key="data.dir")
                await asyncio.sleep(RETRY_SECONDS)

    async def flush(self) -> None:
        """Write what is waiting. Raises StoreUnavailable; what was not written waits on.

        What comes meanwhile waits for the next time: on a busy gateway there is always something.
        """
        async with self._writing:
            left = len(self._waiting)
            while left > 0:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, left))]
                left -= len(batch)
                try:
                    await self._database.write(lambda tx, batch=batch: self._history.keep(tx, batch))  # type: ignore[misc]
                except BaseException:
                    self._waiting.extendleft(reversed(batch))
                    raise

    async def close(self) -> None:
        """Write the last calls, and close the store."""
        with contextlib.suppress(StoreUnavailable):
            await self.flush()
        await self._exit.aclose()

"""Where the routes in Redis come from, as the configuration has it: our API, a file, or another API."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from redis.asyncio import Redis

from gateway.composition.background import Background
from gateway.config import Settings
from gateway.faults import StartError
from gateway.operator_key import operator_key
from gateway.telemetry.metrics import Metrics
from routing.cache import RoutingCache
from routing.follower import FAILURES
from routing.nodes import NodeRegistry
from routing.numbers_file import NumbersFileError
from routing.redis_clients import BACKGROUND_TIMEOUT, connect
from routing.redis_place import RedisPlace
from routing.remote_api import RemoteApi
from routing.remote_sync import RemoteSync
from routing.replica import Replica
from routing.sync import FileSync, Synced

if TYPE_CHECKING:
    from gateway.api_service import ApiService, LiveGateway

FIRST_LOOK_SECONDS: Final = 10.0
"""For the routes of a remote API to be there before calls are taken."""

log = structlog.get_logger("gateway")


class RouteSources:
    """The one that this gateway has.

    Args:
        settings: the configuration.
        redis: where the routes go.
        metrics: counts.
        node: the gateway, as the API speaks of it; nodes: who knows all of them.
        background: closes what is opened, and runs what goes on.

    Attributes:
        api: the API, if it is served here.

    """

    def __init__(
        self,
        settings: Settings,
        redis: RedisPlace,
        metrics: Metrics,
        node: LiveGateway,
        nodes: NodeRegistry,
        background: Background,
    ) -> None:
        self.api: ApiService | None = None
        self._settings = settings
        self._redis = redis
        self._metrics = metrics
        self._node = node
        self._nodes = nodes
        self._background = background
        self._file: FileSync | None = None
        self._remote: RemoteSync | None = None

    @property
    def remote_age(self) -> float:
        """Seconds since a remote API was heard; 0 without one."""
        return 0.0 if self._remote is None else self._remote.age

    async def start(self) -> None:
        """Bring the routes to Redis, before anybody reads them there.

        Raises:
            NumbersFileError: the file is wrong.
            StartError: the API cannot be opened.

        """
        settings = self._settings
        if settings.routing.numbers_file is not None:
            self._file = FileSync(
                settings.routing.numbers_file,
                RoutingCache(self._writer()),
                on_synced=_log_synced,
                on_error=lambda text: log.error("numbers file", detail=text, key="routing.numbers_file"),
            )
            await self._first_sync(self._file)
            self._background.run(partial(self._file.watch, settings.routing.reload_interval), "numbers-file")
        elif settings.api.serve and not settings.api.remote_url:
            await self._start_api(self._writer())

    async def follow(self, replica: Replica) -> None:
        """Look at a remote API, if there is one; what is served already is not given up lightly."""
        if not self._settings.api.remote_url:
            return
        self._remote = self._remote_sync(self._writer(), replica)
        self._background.run(self._remote.run, "remote-api")
        if not replica.loaded:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_LOOK_SECONDS):
                    await self._remote.synced.wait()

    async def reload(self) -> None:
        """Read the file again, or look at the remote API soon."""
        if self._file is not None:
            try:
                await self._file.reload()
            except (NumbersFileError, *FAILURES) as error:
                log.error("numbers not reloaded", detail=str(error), key="routing.numbers_file")
        if self._remote is not None:
            self._remote.look_soon()

    async def _first_sync(self, sync: FileSync) -> None:
        """A wrong file stops the start; a Redis that is away does not: there may be a snapshot."""
        try:
            await sync.reload()
        except NumbersFileError:
            raise
        except FAILURES as error:
            sync.complain(error if isinstance(error, Exception) else RuntimeError(str(error)))

    async def _start_api(self, writer: Redis) -> None:
        """Open the phone-number API; the web server serves it once it is installed there."""
        from gateway.api_service import FIRST_SYNC_SECONDS, ApiStartError, make_service

        self.api = make_service(self._settings, self._metrics.registry, self._node, self._nodes)
        try:
            await self.api.open()
        except ApiStartError as error:
            raise StartError(str(error)) from error
        self._background.push_async_callback(self.api.close)
        self.api.admit(await asyncio.to_thread(operator_key, self._settings.data.dir))
        publisher = self.api.publisher(writer)
        self._background.run(partial(self.api.run, publisher, self.api.intake(writer)), "api")
        with contextlib.suppress(TimeoutError):  # Redis may be away: then there may be a snapshot
            async with asyncio.timeout(FIRST_SYNC_SECONDS):
                await publisher.synced.wait()

    def _remote_sync(self, writer: Redis, replica: Replica) -> RemoteSync:
        api = self._settings.api
        return RemoteSync(
            RemoteApi(api.remote_url, api.remote_key.get_secret_value()),
            RoutingCache(writer),
            interval=api.remote_interval,
            deletion_limit=api.remote_deletion_limit,
            serving=lambda: len(replica.view),
            on_synced=_log_synced,
            on_error=_log_remote,
            on_looked=lambda result: self._metrics.remote_looks.labels(result).inc(),
        )

    def _writer(self) -> Redis:
        writer = connect(self._redis, BACKGROUND_TIMEOUT)
        self._background.push_async_callback(writer.aclose)
        return writer


def _log_remote(text: str) -> None:
    if text:
        log.error("remote API", detail=text, key="api.remote_url")
    else:
        log.info("remote API is well again")


def _log_synced(synced: Synced) -> None:
    log.info(
        "routes synchronised",
        numbers=synced.numbers,
        agents=synced.agents,
        written=synced.written,
        removed=synced.removed,
    )

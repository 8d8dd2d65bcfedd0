"""The office's page of metrics: its own, and those of all workers, fetched when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry

from gateway.telemetry.metrics import Metrics
from gateway.worker_client import WorkerClient, of_each
from gateway.workers.totals import Totals


class OfficeMetrics:
    """Brings them together.

    Args:
        own: the office's own.
        workers: who is asked.
        pid: the process that a slot has now.
        refresh: brings the office's own gauges up to date.

    Attributes:
        registry: what `/metrics` shows.

    """

    def __init__(
        self,
        own: Metrics,
        workers: Sequence[WorkerClient],
        pid: Callable[[int], int],
        refresh: Callable[[], None],
    ) -> None:
        self._workers = workers
        self._pid = pid
        self._refresh = refresh
        self._totals = Totals(own.registry)
        self.registry = CollectorRegistry()
        self.registry.register(self._totals)

    async def refresh(self) -> None:
        """Ask every worker; bounded by `gateway.worker_client.ASK_SECONDS`."""
        self._refresh()
        answers = await of_each(self._workers, WorkerClient.samples)
        for worker, told in answers:
            self._totals.told(worker.slot, self._pid(worker.slot), told)
        self._totals.present({worker.slot for worker, _ in answers})

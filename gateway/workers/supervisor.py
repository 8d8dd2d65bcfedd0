"""Keeps the workers running: each is started again when it ends, and nobody's calls but its own notice.

A worker that ends again and again is started less and less often: what ails it may be its own state, and a
machine that does nothing but start programs serves no call.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

BACKOFF: Final = (0.0, 0.5, 2.0, 5.0, 15.0)
"""Seconds before a worker is started again, by how often it has ended lately; the last one holds then."""

HEALTHY_SECONDS: Final = 60.0
"""After which a start counts as good, and the backoff begins anew."""

READY_SECONDS: Final = 30.0
"""Until a worker must take calls after its start: routes of a large Redis are read meanwhile."""

KILL_SECONDS: Final = 15.0
"""After a worker should have ended by itself, until it is killed."""


class WorkerFailed(Exception):  # noqa: N818 - it names what happened
    """A worker did not come up; the message says which, and where to look."""


class Process(Protocol):
    """A worker's process."""

    @property
    def pid(self) -> int:
        """Of the operating system."""

    @property
    def ended(self) -> asyncio.Future[int]:
        """Its exit status, once it has ended."""

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; none if it has ended."""


class Observer(Protocol):
    """Whoever logs and counts."""

    def started(self, slot: int, pid: int, *, again: bool) -> None:
        """A worker takes calls."""

    def ended(self, slot: int, pid: int, status: int) -> None:
        """A worker has ended that should not have."""

    def stuck(self, slot: int, pid: int) -> None:
        """A worker did not come up, or did not end, and was killed."""


class Supervisor:
    """Starts workers, and starts them again.

    Args:
        slots: of the workers.
        launch: starts the process of a slot; `again` says that the slot had one before.
        ready: returns when the worker of a slot takes calls.
        observer: hears of everything.

    """

    def __init__(
        self,
        slots: Sequence[int],
        launch: Callable[[int, bool], Awaitable[Process]],
        ready: Callable[[int], Awaitable[None]],
        observer: Observer,
    ) -> None:
        self.slots = tuple(slots)
        self._launch = launch
        self._ready = ready
        self._observer = observer
        self._processes: dict[int, Process] = {}
        self._keepers: dict[int, asyncio.Task[None]] = {}
        self._ending = False

    @property
    def running(self) -> bool:
        """They have been started."""
        return bool(self._keepers)

    def pid(self, slot: int) -> int:
        """The process of a slot; 0 if there is none now."""
        process = self._processes.get(slot)
        return 0 if process is None else process.pid

    async def start(self) -> None:
        """Start all of them, and return when each takes calls.

        Raises:
            WorkerFailed: one does not come up; the others are ended again.

        """
        try:
            for slot in self.slots:
                self._processes[slot] = await self._launch(slot, False)
            async with asyncio.TaskGroup() as group:
                for slot in self.slots:
                    group.create_task(self._first_start(slot))
        except BaseException as error:
            await self.stop(0)
            if isinstance(error, BaseExceptionGroup):
                failed = error.subgroup(WorkerFailed)
                raise (failed.exceptions[0] if failed is not None else error) from None
            raise
        for slot in self.slots:
            self._keepers[slot] = asyncio.create_task(self._keep(slot), name=f"worker-{slot}")

    async def stop(self, patience: float) -> None:
        """End all of them in order, and kill those that have not ended in time. Idempotent.

        patience: seconds for their calls.
        """
        self._ending = True
        processes = dict(self._processes)
        for process in processes.values():
            process.signal(signal.SIGTERM)
        if processes:
            await asyncio.wait([each.ended for each in processes.values()], timeout=patience + KILL_SECONDS)
        for slot, process in processes.items():
            if not process.ended.done():
                self._observer.stuck(slot, process.pid)
                process.signal(signal.SIGKILL)
                await process.ended
        keepers = list(self._keepers.values())
        self._keepers.clear()
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        self._processes.clear()

    def retire(self) -> None:
        """Start nobody again from now on; each worker ends when its calls are over, as it was told."""
        self._ending = True

    async def ended(self) -> None:
        """Return when all have ended."""
        if self._processes:
            await asyncio.wait([each.ended for each in self._processes.values()])

    def signal(self, number: signal.Signals, slot: int | None = None) -> None:
        """Send it to each, or to one."""
        for each, process in self._processes.items():
            if slot is None or each == slot:
                process.signal(number)

    async def _first_start(self, slot: int) -> None:
        process = self._processes[slot]
        if not await self._comes_up(slot, process):
            raise WorkerFailed(f"worker {slot} did not start: what it wrote says why")
        self._observer.started(slot, process.pid, again=False)

    async def _comes_up(self, slot: int, process: Process) -> bool:
        ready = asyncio.ensure_future(self._ready(slot))
        await asyncio.wait((ready, process.ended), timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and not process.ended.done():
            ready.result()
            return True
        ready.cancel()
        await asyncio.gather(ready, return_exceptions=True)
        if not process.ended.done() and not self._ending:
            self._observer.stuck(slot, process.pid)
            process.signal(signal.SIGKILL)
            await process.ended
        return False

    async def _keep(self, slot: int) -> None:
        loop = asyncio.get_running_loop()
        failures, since = 0, loop.time()
        while True:
            process = self._processes[slot]
            status = await process.ended
            if self._ending:
                return
            self._observer.ended(slot, process.pid, status)
            if loop.time() - since > HEALTHY_SECONDS:
                failures = 0
            await asyncio.sleep(BACKOFF[min(failures, len(BACKOFF) - 1)])
            failures += 1
            since = loop.time()
            process = self._processes[slot] = await self._launch(slot, True)
            if await self._comes_up(slot, process):
                self._observer.started(slot, process.pid, again=True)

"""Workers that crash and come back, with processes and time of the test's own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import pytest

from gateway.workers import supervisor
from gateway.workers.supervisor import BACKOFF, Supervisor, WorkerFailed


class Process:
    """One that ends when it is told to."""

    def __init__(self, pid: int, *, obedient: bool = True) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.heard: list[signal.Signals] = []
        self._obedient = obedient

    def signal(self, number: signal.Signals) -> None:
        self.heard.append(number)
        if number == signal.SIGKILL or (number == signal.SIGTERM and self._obedient):
            self.end(-number)

    def end(self, status: int) -> None:
        if not self.ended.done():
            self.ended.set_result(status)


class Machine:
    """Starts processes, and writes down what is told of them."""

    def __init__(self) -> None:
        self.processes: list[tuple[int, Process, bool]] = []
        self.told: list[tuple[str, int]] = []
        self.obedient = True
        self.comes_up: Callable[[int], bool] = lambda slot: True

    async def launch(self, slot: int, again: bool) -> Process:
        process = Process(100 + len(self.processes), obedient=self.obedient)
        self.processes.append((slot, process, again))
        return process

    async def ready(self, slot: int) -> None:
        if not self.comes_up(slot):
            await asyncio.Event().wait()

    def started(self, slot: int, pid: int, *, again: bool) -> None:
        self.told.append(("again" if again else "started", slot))

    def ended(self, slot: int, pid: int, status: int) -> None:
        self.told.append(("ended", slot))

    def stuck(self, slot: int, pid: int) -> None:
        self.told.append(("stuck", slot))

    def of(self, slot: int) -> list[Process]:
        return [process for each, process, _ in self.processes if each == slot]


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The supervisor's sleeps, which take no time."""
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real(0)

    monkeypatch.setattr(supervisor.asyncio, "sleep", sleep)
    return slept


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)


async def test_a_crash_is_told_and_the_worker_comes_back_alone(machine: Machine, pauses: list[float]) -> None:
    keeper = Supervisor((1, 2), machine.launch, machine.ready, machine)
    await keeper.start()
    machine.of(2)[0].end(-signal.SIGKILL)
    await until(lambda: ("again", 2) in machine.told)
    assert machine.told == [("started", 1), ("started", 2), ("ended", 2), ("again", 2)]
    assert [again for slot, _, again in machine.processes if slot == 2] == [False, True]
    assert machine.of(1)[0].heard == []
    assert keeper.pid(2) == machine.of(2)[1].pid
    await keeper.stop(1)
    assert all(process.ended.done() for _, process, _ in machine.processes)


async def test_one_that_crashes_again_and_again_is_started_less_and_less_often(
    machine: Machine, pauses: list[float]
) -> None:
    keeper = Supervisor((1,), machine.launch, machine.ready, machine)
    await keeper.start()
    for count in range(1, 8):
        await until(lambda: machine.told.count(("again", 1)) == count - 1)  # noqa: B023 - asked at once
        machine.of(1)[-1].end(1)
    await until(lambda: machine.told.count(("again", 1)) == 7)
    assert pauses == [*BACKOFF, BACKOFF[-1], BACKOFF[-1]]
    await keeper.stop(1)


async def test_a_worker_that_ends_at_the_start_ends_the_start(machine: Machine) -> None:
    machine.comes_up = lambda slot: slot != 2
    keeper = Supervisor((1, 2), machine.launch, machine.ready, machine)
    starting = asyncio.create_task(keeper.start())
    await until(lambda: len(machine.processes) == 2)
    machine.of(2)[0].end(1)
    with pytest.raises(WorkerFailed, match="worker 2"):
        await starting
    assert machine.of(1)[0].heard == [signal.SIGTERM]


async def test_a_worker_that_never_comes_up_is_killed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "READY_SECONDS", 0.01)
    machine.comes_up = lambda slot: False
    keeper = Supervisor((1,), machine.launch, machine.ready, machine)
    with pytest.raises(WorkerFailed):
        await keeper.start()
    assert machine.of(1)[0].heard[0] == signal.SIGKILL
    assert ("stuck", 1) in machine.told


async def test_one_that_does_not_end_is_killed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "KILL_SECONDS", 0.01)
    machine.obedient = False
    keeper = Supervisor((1,), machine.launch, machine.ready, machine)
    await keeper.start()
    await keeper.stop(0)
    assert machine.of(1)[0].heard == [signal.SIGTERM, signal.SIGKILL]
    assert ("stuck", 1) in machine.told


async def test_after_retirement_nobody_is_started_again(machine: Machine) -> None:
    keeper = Supervisor((1, 2), machine.launch, machine.ready, machine)
    await keeper.start()
    keeper.retire()
    machine.of(1)[0].end(0)
    keeper.signal(signal.SIGTERM, 2)
    await keeper.ended()
    assert machine.of(1)[0].heard == []
    assert len(machine.processes) == 2
    await keeper.stop(0)

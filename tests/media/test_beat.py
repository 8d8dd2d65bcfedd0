from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from gateway.media import beat as beats
from gateway.media.beat import AT_REST, beat_of

Run = Callable[..., Any]


class Stream:
    """Wants to be woken every 20 ms, some times; `at` holds when it was."""

    def __init__(self, times: int, begins: float = 0.0) -> None:
        self.left = times
        self.due = begins
        self.at: list[float] = []

    def wake(self, now: float) -> float:
        self.at.append(now)
        self.left -= 1
        self.due += 0.02
        return self.due if self.left > 0 else AT_REST


def timers(loop: Any) -> int:
    return sum(not handle.cancelled() for handle in loop._scheduled)


def test_each_stream_is_woken_at_its_own_moments_by_one_timer(run_virtual: Run) -> None:
    streams = [Stream(50, begins) for begins in (0.013, 0.002, 0.019, 0.007)]

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        for stream in streams:
            beat_of(loop).wake(stream.due, stream.wake)
            assert timers(loop) == 1
        await asyncio.sleep(2)

    run_virtual(scene())
    for stream, begins in zip(streams, (0.013, 0.002, 0.019, 0.007), strict=True):
        assert stream.at == pytest.approx([begins + 0.02 * number for number in range(50)])


def test_those_due_within_a_grain_are_woken_together_and_in_order(run_virtual: Run) -> None:
    woken: list[str] = []

    async def scene() -> None:
        beat = beat_of(asyncio.get_running_loop())
        for name, due in (("c", 0.0109), ("a", 0.0100), ("later", 0.0115), ("b", 0.0105)):
            beat.wake(due, lambda now, name=name: (woken.append(f"{name} {now:.4f}"), AT_REST)[1])
        await asyncio.sleep(0.1)

    run_virtual(scene())
    assert woken == ["a 0.0100", "b 0.0100", "c 0.0100", "later 0.0115"]


def test_a_stream_that_raises_leaves_the_others_their_beat(run_virtual: Run) -> None:
    stream, reported = Stream(3, 0.01), list[str]()

    def broken(now: float) -> float:
        raise RuntimeError("broken")

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: reported.append(str(context["exception"])))
        beat_of(loop).wake(0.01, broken)
        beat_of(loop).wake(0.01, stream.wake)
        await asyncio.sleep(0.1)

    run_virtual(scene())
    assert reported == ["broken"]
    assert stream.at == pytest.approx([0.01, 0.03, 0.05])


def test_a_stream_that_is_forgotten_is_not_woken_and_leaves_no_timer(run_virtual: Run) -> None:
    first, second = Stream(9, 0.01), Stream(9, 0.01)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        beat = beat_of(loop)
        beat.wake(0.01, first.wake)
        beat.wake(0.01, second.wake)
        await asyncio.sleep(0.015)
        beat.forget(first.wake)
        beat.forget(Stream(1).wake)  # one that nobody knows
        await asyncio.sleep(0.02)
        assert (len(first.at), len(second.at)) == (1, 2)
        beat.forget(second.wake)
        assert timers(loop) == 0

    run_virtual(scene())


def test_one_woken_may_forget_and_begin_others(run_virtual: Run) -> None:
    later, begun = Stream(9, 0.0102), Stream(2, 0.012)

    async def scene() -> None:
        beat = beat_of(asyncio.get_running_loop())

        def ends_another(now: float) -> float:
            beat.forget(later.wake)
            beat.wake(begun.due, begun.wake)
            return AT_REST

        beat.wake(0.01, ends_another)
        beat.wake(later.due, later.wake)
        await asyncio.sleep(0.1)

    run_virtual(scene())
    assert later.at == []
    assert begun.at == pytest.approx([0.012, 0.032])


def test_a_loop_that_is_over_is_not_kept(run_virtual: Run) -> None:
    kept: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        kept.append(weakref.ref(loop))
        stream = Stream(2)
        beat_of(loop).wake(0.0, stream.wake)
        assert beat_of(loop) is beat_of(loop)
        await asyncio.sleep(0.1)

    run_virtual(scene())
    gc.collect()
    assert kept[0]() is None
    assert all(not loop.is_closed() for loop in beats._beats)

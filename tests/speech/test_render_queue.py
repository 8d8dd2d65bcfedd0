from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.speech.errors import SpeechError, UnspeakableTextError
from gateway.speech.message import RenderedMessage
from gateway.speech.render_queue import DOWN_AFTER, LONGEST_REST, Priority, RenderQueue

BROKEN = SpeechError("broken")


class Timers:
    """Stands in for the loop's `call_later`: time passes when `wait` is called."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = 0.0
        self.set: list[tuple[float, Callable[..., object], tuple[object, ...]]] = []
        self.delays: list[float] = []
        self._loop = loop

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        self.delays.append(delay)
        self.set.append((self.now + delay, callback, args))
        return asyncio.TimerHandle(0, callback, args, self._loop)

    async def wait(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.set if timer[0] <= self.now]
        self.set = [timer for timer in self.set if timer[0] > self.now]
        for _, callback, args in due:
            callback(*args)
        await settle()


class Desk:
    """A queue, the engine behind it, and what was reported."""

    def __init__(self) -> None:
        self.rendered: list[str] = []
        self.loaded: list[str] = []
        self.saved: list[str] = []
        self.errors: list[Exception] = []
        self.on_disk: set[str] = set()
        self.failing: dict[str, Exception] = {}
        self.all_fail = False
        self.open = asyncio.Event()
        self.open.set()
        loop = asyncio.get_running_loop()
        self.timers = Timers(loop)
        loop.call_later = self.timers.call_later  # type: ignore[method-assign,assignment]
        self.queue = RenderQueue(
            self.load, self.render, self.save, on_error=self.errors.append, concurrency=1
        )

    async def load(self, key: str) -> RenderedMessage | None:
        self.loaded.append(key)
        return message(key) if key in self.on_disk else None

    async def render(self, key: str, text: str) -> RenderedMessage:
        self.rendered.append(text)
        await self.open.wait()
        if self.all_fail or key in self.failing:
            raise self.failing.get(key, BROKEN)
        return message(key)

    async def save(self, key: str, made: RenderedMessage) -> None:
        self.saved.append(key)

    def prepare(self, *texts: str) -> None:
        for text in texts:
            self.queue.submit(text, text, Priority.PREPARE)


def message(key: str) -> RenderedMessage:
    return RenderedMessage(key.encode(), {})


async def settle() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


async def test_each_message_is_rendered_once_and_saved() -> None:
    desk = Desk()
    desk.prepare("a", "b", "a")
    assert len(desk.queue) == 2
    callers = [asyncio.create_task(desk.queue.result("a", "a")) for _ in range(3)]
    await settle()
    desk.queue.start()
    results = await asyncio.gather(*callers)
    await settle()
    assert [result.pcm for result in results if result] == [b"a"] * 3
    assert desk.rendered == ["a", "b"]
    assert desk.saved == ["a", "b"]
    assert len(desk.queue) == 0
    await desk.queue.close()


async def test_what_is_on_disk_is_not_rendered() -> None:
    desk = Desk()
    desk.on_disk = {"a"}
    desk.queue.start()
    result = await desk.queue.result("a", "a")
    assert result is not None
    assert (desk.rendered, desk.saved) == ([], [])
    await desk.queue.close()


async def test_a_caller_goes_before_what_is_only_prepared() -> None:
    desk = Desk()
    desk.open.clear()
    desk.queue.start()
    desk.prepare("first", "second", "third", "fourth")
    await settle()
    urgent = asyncio.create_task(desk.queue.result("fourth", "fourth"))
    new = asyncio.create_task(desk.queue.result("new", "new"))
    await settle()
    desk.open.set()
    await asyncio.gather(urgent, new)
    await settle()
    assert desk.rendered == ["first", "fourth", "new", "second", "third"]
    await desk.queue.close()


async def test_a_failure_is_told_at_once_and_tried_again_after_a_growing_rest() -> None:
    desk = Desk()
    desk.all_fail = True
    desk.queue.start()
    assert await desk.queue.result("a", "a") is None
    assert await desk.queue.result("a", "a") is None  # at rest: not tried, not waited for
    assert desk.rendered == ["a"]
    for _ in range(9):
        await desk.timers.wait(LONGEST_REST)
    assert desk.timers.delays == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert len(desk.errors) == 10
    desk.all_fail = False
    await desk.timers.wait(LONGEST_REST)
    assert desk.saved == ["a"]
    assert len(desk.queue) == 0
    await desk.queue.close()


async def test_a_text_at_fault_is_reported_once_and_does_not_stop_others() -> None:
    desk = Desk()
    desk.failing["bad"] = UnspeakableTextError("nothing to say")
    desk.queue.start()
    assert await desk.queue.result("bad", "bad") is None
    assert len(desk.queue) == 0
    assert desk.errors == [desk.failing["bad"]]
    assert desk.timers.delays == []
    assert await desk.queue.result("good", "good") is not None
    await desk.queue.close()


async def test_whatever_an_engine_raises_the_next_message_gets_its_turn() -> None:
    desk = Desk()
    desk.failing["a"] = ZeroDivisionError("a bug in an engine")
    desk.queue.start()
    assert await desk.queue.result("a", "a") is None
    assert await desk.queue.result("b", "b") is not None
    await desk.queue.close()


async def test_an_engine_that_is_down_is_left_alone_and_all_is_made_up_for_afterwards() -> None:
    desk = Desk()
    desk.all_fail = True
    texts = [f"message {number}" for number in range(50)]
    desk.prepare(*texts)
    desk.on_disk = {"message 30"}
    desk.queue.start()
    await settle()
    assert desk.rendered == texts[:DOWN_AFTER]
    assert len(desk.queue) == 49  # the one on disk needs no engine
    assert await desk.queue.result("another", "another") is None
    assert desk.rendered == texts[:DOWN_AFTER]
    await desk.timers.wait(1)
    assert len(desk.rendered) <= 3 * DOWN_AFTER  # one more with each retry
    desk.all_fail = False
    await desk.timers.wait(2)
    assert len(desk.saved) == 47 + 3 - len(desk.timers.set)
    await desk.timers.wait(LONGEST_REST)
    assert len(desk.queue) == 0
    assert sorted(desk.saved) == sorted({*texts, "another"} - desk.on_disk)
    await desk.queue.close()


async def test_texts_that_always_fail_do_not_take_the_engine_away_from_others() -> None:
    desk = Desk()
    bad = [f"bad {number}" for number in range(DOWN_AFTER)]
    desk.failing = dict.fromkeys(bad, BROKEN)
    desk.prepare(*bad, "good 1", "good 2")
    desk.queue.start()
    await settle()
    assert desk.saved == []
    await desk.timers.wait(1)
    assert sorted(desk.saved) == ["good 1", "good 2"]
    await desk.queue.close()


async def test_closing_answers_all_who_wait() -> None:
    desk = Desk()
    desk.open.clear()
    desk.queue.start()
    waiting = [asyncio.create_task(desk.queue.result(text, text)) for text in ("a", "a", "b")]
    await settle()
    await desk.queue.close()
    assert await asyncio.gather(*waiting) == [None, None, None]
    assert len(desk.queue) == 0


async def test_a_caller_who_hangs_up_meanwhile_is_no_harm() -> None:
    desk = Desk()
    desk.open.clear()
    desk.queue.start()
    caller = asyncio.create_task(desk.queue.result("a", "a"))
    await settle()
    caller.cancel()
    await settle()
    desk.open.set()
    assert await desk.queue.result("a", "a") is not None
    await desk.queue.close()

"""When garbage is collected: little and often while there are calls, all of it when there are none.

A finished call leaves no reference cycle (tested in `tests/sip`), so there is little to find; what matters is
how long looking for it holds everything up. Looking through a young object costs a microsecond, most of it
waiting for memory: with thresholds that make collections rare a busy gateway stood still for 25 ms, and one
call in a hundred noticed. Left to itself the collector begins where objects are made, which is always in the
middle of a call's message; so they are looked through by a timer, and it seldom comes to that.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Final

YOUNG: Final = 2_000
"""Objects more than at the last look before the young ones are looked through at once, whatever is under way:
a stretch in which the timer has not come."""

PIECE: Final = 200
"""Objects more than at the last look that the timer looks through: a fifth of a millisecond's work."""

PAUSE_SECONDS: Final = 0.02
"""Between looks of the timer: two or three calls begin meanwhile on a busy gateway."""

LONGEST_PAUSE_SECONDS: Final = 0.32
"""The same where little happens: each look in vain doubles the pause, for waking up costs something, too."""

NEVER: Final = 1_000_000_000
"""Older generations are not looked through by themselves: it would take longer the more calls there are."""

QUIET_SECONDS: Final = 60.0
"""Between looks at whether nobody is on the line."""


def settle() -> None:
    """Everything has started: what is there now stays, and is not looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, NEVER, NEVER)


async def collect_between_messages(interval: float = PAUSE_SECONDS) -> None:
    """Look through the young objects, a few at a time; until cancelled.

    interval: seconds between two looks that find some.
    """
    pause = interval
    while True:
        await asyncio.sleep(pause)
        if gc.get_count()[0] >= PIECE:
            gc.collect(0)
            pause = interval
        else:
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


async def collect_in_quiet(calls: Callable[[], int], interval: float = QUIET_SECONDS) -> None:
    """Collect all garbage when nobody is on the line, if there can be any; until cancelled.

    calls: how many are under way.
    """
    while True:
        await asyncio.sleep(interval)
        young_ones_collected = gc.get_count()[1]
        if young_ones_collected and not calls():
            gc.collect()

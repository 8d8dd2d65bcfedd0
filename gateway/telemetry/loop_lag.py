"""How late the event loop is: the first sign that a process has more to do than it can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

INTERVAL: Final = 0.1
"""Seconds between measurements: ten timers a second cost nothing, and a stall of one frame is seen."""


class LoopLagMonitor:
    """Measures how late a timer of the running loop fires, and reports it in seconds."""

    def __init__(self, observe: Callable[[float], None], interval: float = INTERVAL) -> None:
        self._observe = observe
        self._interval = interval
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._loop = asyncio.get_running_loop()
        self._arm()

    def stop(self) -> None:
        """End. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._due = self._loop.time() + self._interval
        self._timer = self._loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        self._observe(max(0.0, self._loop.time() - self._due))
        self._arm()

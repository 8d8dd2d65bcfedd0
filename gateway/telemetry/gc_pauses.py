"""How long the garbage collector holds everything up."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any


class GcPauses:
    """Times each collection of the process.

    observe: told the generation and the seconds, by whichever thread allocated the object too many; it must
        take no lock, since that thread may hold it.
    """

    def __init__(self, observe: Callable[[int, float], None]) -> None:
        self._observe = observe
        self._began = 0.0

    def start(self) -> None:
        """Begin."""
        gc.callbacks.append(self._told)

    def stop(self) -> None:
        """End. Idempotent."""
        if self._told in gc.callbacks:
            gc.callbacks.remove(self._told)

    def _told(self, phase: str, info: dict[str, Any]) -> None:
        """Take what the collector says; collections neither overlap nor nest."""
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self._observe(info["generation"], time.perf_counter() - self._began)

"""Who is told about lookups and about how current the routes are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from routing.models import Agent, PhoneNumber

Loaded: TypeAlias = Callable[[Sequence[PhoneNumber], Sequence[Agent]], None]
"""Told numbers and agents that are new or changed, so that what they need can be prepared."""


class RoutingObserver(Protocol):
    """Who counts."""

    def lookup(self, source: str, result: str, seconds: float) -> None:
        """A lookup was answered by `source` with `result` (``hit``, ``miss``, ``error``)."""

    def sync_error(self) -> None:
        """Loading or following failed."""

    def numbers_known(self, count: int) -> None:
        """So many numbers are in the view."""

    def propagated(self, seconds: float) -> None:
        """A change became routable here that long after it was accepted."""

"""How long a party of a relayed call may send nothing before it is taken for gone."""

from __future__ import annotations

from math import inf
from typing import Literal

from gateway.destinations.audio_path import AudioPath

ROUNDING = 0.001
"""Seconds by which a timer and the sum of two times may differ."""

Party = Literal["caller", "agent"]


class SilenceWatch:
    """Follows both parties of one call.

    Only a relay sees packets, and silence on hold is no sign of anything: with direct media, and while
    anybody holds, nobody is ever silent.

    Args:
        agent_limit, caller_limit: seconds; 0 for no limit.
        now: from here on silence counts.

    """

    __slots__ = ("_limits", "_path", "_since")

    def __init__(self, path: AudioPath, *, agent_limit: float, caller_limit: float, now: float) -> None:
        self._path = path
        self._limits = caller_limit or inf, agent_limit or inf
        self._since = now if path.relayed else inf

    def hold(self) -> None:
        """Stop counting."""
        self._since = inf

    def resume(self, now: float) -> None:
        """Count from now on."""
        if self._path.relayed:
            self._since = now

    def next_check(self, now: float) -> float:
        """When somebody will have been silent for too long, if nothing more is heard; infinity for never."""
        if self._since == inf:
            return inf
        return min(self._deadlines(now))

    def silent(self, now: float) -> Party | None:
        """Who has been silent for too long."""
        if self._since == inf:
            return None
        caller, agent = self._deadlines(now)
        if now >= agent - ROUNDING:
            return "agent"
        return "caller" if now >= caller - ROUNDING else None

    def _deadlines(self, now: float) -> tuple[float, float]:
        caller, agent = self._path.silence(now)
        return (
            max(now - caller, self._since) + self._limits[0],
            max(now - agent, self._since) + self._limits[1],
        )

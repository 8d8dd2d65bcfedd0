"""How long a party of a call may send nothing before it is taken for gone."""

from __future__ import annotations

from math import inf
from typing import Literal, Protocol

from gateway.media.ports import MediaPort

ROUNDING = 0.001
"""Seconds by which a timer and the sum of two times may differ."""

Party = Literal["caller", "agent"]


class Heard(Protocol):
    """Who knows how long the parties have been silent.

    Attributes:
        relayed: packets pass through us; otherwise nobody can know.

    """

    relayed: bool

    def silence(self, now: float) -> tuple[float, float]:
        """Seconds without a packet from the caller and from the agent."""


class TerminatedAudio:
    """A caller whose audio ends here, with nobody behind who sends RTP: an agent over WebSocket, say.

    now: the caller's silence counts from here until its first packet.
    """

    __slots__ = ("_port", "_since", "relayed")

    def __init__(self, port: MediaPort, now: float) -> None:
        self._port = port
        self._since = now
        self.relayed = True

    def silence(self, now: float) -> tuple[float, float]:
        """See `Heard`; the agent is never silent."""
        last = self._port.last_packet_at
        return now - (self._since if last is None else max(last, self._since)), 0.0


class SilenceWatch:
    """Follows both parties of one call.

    Only a relay sees packets, and silence on hold is no sign of anything: with direct media, and while
    anybody holds, nobody is ever silent.

    Args:
        agent_limit, caller_limit: seconds; 0 for no limit.
        now: from here on silence counts.

    """

    __slots__ = ("_limits", "_path", "_since")

    def __init__(self, path: Heard, *, agent_limit: float, caller_limit: float, now: float) -> None:
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

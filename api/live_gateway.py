"""The gateway that this process is, as far as the API speaks of it: live calls, traces, drain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from routing.call_records import CallShown, TraceRung


class LiveGateway(Protocol):
    """One gateway. Fulfilled by the gateway's side; a process that serves the API alone has none."""

    @property
    def name(self) -> str:
        """What tells it from others."""

    @property
    def draining(self) -> bool:
        """It takes no new calls."""

    async def live(self) -> list[CallShown]:
        """The calls that go on, oldest first."""

    async def find(self, call_id: str) -> CallShown | None:
        """The live call of that id."""

    async def hang_up(self, call_id: str) -> bool:
        """End a call; False if it is over."""

    async def drain(self, draining: bool) -> None:
        """Take no new calls from now on, or take them again."""

    def has(self, node: str) -> bool:
        """Whether that name, of a call's, is this gateway's or that of one of its processes."""

    async def trace(self, call: CallShown) -> Sequence[TraceRung]:
        """What happened in a call, in order; may raise OSError."""

    async def trace_text(self, call: CallShown) -> str:
        """The same for people; may raise OSError."""

    async def trace_capture(self, call: CallShown) -> bytes:
        """Its packets as a pcap file; may raise OSError."""

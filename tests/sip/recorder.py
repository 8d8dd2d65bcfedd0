"""A receiver that writes down what a listener tells it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from gateway.sip.flow import Flow

PATIENCE = 5.0
"""Seconds until a wait counts as failed; loopback needs milliseconds."""


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - conditions of sockets have no event
            await asyncio.sleep(0.002)


class Recorder:
    """Fulfils `gateway.sip.network.Receiver`; admits everybody unless told otherwise."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, Flow]] = []
        self.failures: list[tuple[Flow, str]] = []
        self.drops: Counter[str] = Counter()
        self.admitted = True
        self.on_message: Callable[[bytes, Flow], None] = lambda data, flow: None

    def message_received(self, data: bytes, flow: Flow) -> None:
        self.messages.append((data, flow))
        self.on_message(data, flow)

    def flow_failed(self, flow: Flow, reason: str) -> None:
        self.failures.append((flow, reason))

    def admits(self, host: str) -> bool:
        return self.admitted

    def dropped(self, reason: str) -> None:
        self.drops[reason] += 1

    @property
    def bodies(self) -> list[bytes]:
        return [data for data, _ in self.messages]

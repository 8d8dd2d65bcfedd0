"""Engines that do as they are told, and a watch on blocking calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from gateway.speech.message import Encoder


@pytest.fixture(autouse=True)
def no_blocking() -> Iterator[BlockBuster]:
    """Any call that would block the loop raises."""
    with blockbuster_ctx("gateway") as guard:
        yield guard


class ScriptedEngine:
    """Renders a text as its own bytes, unless told otherwise.

    failures: exceptions by text, raised until removed; hold: texts wait for this event while it is not set.
    """

    name = "scripted"
    concurrency = 1

    def __init__(self, identity: str = "scripted:1") -> None:
        self.identity = identity
        self.rendered: list[str] = []
        self.failures: dict[str, Exception] = {}
        self.broken: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.closed = 0

    async def render(self, text: str) -> bytes:
        self.rendered.append(text)
        await self.open.wait()
        failure = self.broken or self.failures.get(text)
        if failure is not None:
            raise failure
        return spoken(text)

    async def close(self) -> None:
        self.closed += 1


def spoken(text: str) -> bytes:
    return text.encode("utf-16-le") * 50


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def encoders() -> Mapping[str, Encoder]:
    """One encoder, that leaves bytes alone: 320 of them are a frame."""
    return {"L16": lambda pcm: [pcm[at : at + 320] for at in range(0, len(pcm), 320)]}

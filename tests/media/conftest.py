"""A loop in virtual time, media ports in memory, and an ear for tones."""

from __future__ import annotations

import asyncio
import math
import selectors
from array import array
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextvars import Context
from typing import Any, TypeVar

import pytest
import uvloop
from blockbuster import BlockBuster, blockbuster_ctx

from gateway.media.ports import Address, KeyExchange, Network, PacketSeal, PacketSink
from gateway.media.reception import PortStats

T = TypeVar("T")


ON_BOTH_LOOPS = {"test_poller.py", "test_port_pool.py", "test_relay.py"}
"""Tests on real sockets: they run under asyncio's loop and under uvloop."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.name in ON_BOTH_LOOPS:
        loops["uvloop"] = uvloop.new_event_loop
    return loops


@pytest.fixture(autouse=True)
def no_blocking() -> Iterator[BlockBuster]:
    """Any call that would block the loop raises."""
    with blockbuster_ctx("gateway") as guard:
        yield guard


class _JumpingSelector(selectors.DefaultSelector):
    """Where a real selector would sleep, time jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("the loop would sleep for ever")
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs hours in milliseconds; `late` makes every wakeup late by that many seconds."""

    def __init__(self) -> None:
        self.clock = _JumpingSelector()
        self.late = 0.0
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return super().call_at(when + self.late, callback, *args, context=context)


@pytest.fixture
def run_virtual() -> Callable[[Coroutine[Any, Any, T]], T]:
    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(coroutine)

    return run


class MemoryPort:
    """A `MediaPort` without a network: `sent` holds (loop time, packet); `peer`, if set, hears what is
    sent."""

    def __init__(self) -> None:
        self.address: Address = ("192.0.2.1", 16384)
        self.sink: PacketSink = lambda packet: None
        self.rtcp_sink: PacketSink = lambda packet: None
        self.sending = True
        self.last_packet_at: float | None = None
        self.stats = PortStats()
        self.sent: list[tuple[float, bytes]] = []
        self.sent_rtcp: list[bytes] = []
        self.peer: MemoryPort | None = None
        self.remotes: list[tuple[str, int, int | None]] = []
        self.closed = 0

    def set_remote(self, host: str, port: int, rtcp_port: int | None = None) -> None:
        self.remotes.append((host, port, rtcp_port))

    def send(self, packet: bytes) -> None:
        self.sent.append((asyncio.get_running_loop().time(), packet))
        if self.peer is not None:
            self.peer.sink(packet)

    def send_rtcp(self, packet: bytes) -> None:
        self.sent_rtcp.append(packet)

    def exchange_keys(self, exchange: KeyExchange) -> None: ...

    def secure(self, seal: PacketSeal) -> None:
        self.seal = seal

    def close(self) -> None:
        self.closed += 1


class MemoryPorts:
    """`MediaPorts` in memory."""

    def __init__(self) -> None:
        self.opened: list[MemoryPort] = []

    @property
    def in_use(self) -> int:
        return sum(not port.closed for port in self.opened)

    def open(self, latch_ranges: Sequence[Network] | None = None, *, ipv6: bool = False) -> MemoryPort:
        self.opened.append(MemoryPort())
        return self.opened[-1]


@pytest.fixture
def ports() -> MemoryPorts:
    return MemoryPorts()


def goertzel(pcm: bytes, hertz: float) -> float:
    """The level of one frequency in dBm0: a full-scale µ-law sine is +3.17."""
    samples = array("h", pcm)
    coefficient = 2 * math.cos(2 * math.pi * hertz / 8000)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + coefficient * last - before
    power = last * last + before * before - coefficient * last * before
    peak = 2 * math.sqrt(max(power, 1e-9)) / len(samples)
    return 20 * math.log10(max(peak, 1e-3) / 32124) + 3.17


@pytest.fixture
def level() -> Callable[[bytes, float], float]:
    return goertzel

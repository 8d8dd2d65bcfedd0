"""Two user agents and a bad link between them, in virtual time, from a seed."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from functools import partial
from random import Random

from gateway.sip.flow import Flow
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.user_agent import UserAgent


class Link:
    """Loses, doubles, delays and so reorders datagrams; `streams` never lose anything, but may end.

    Args:
        seed: makes everything that happens.
        loss, doubling: the part of all datagrams, 0 to 1.
        delay: seconds, at most, one way.

    """

    def __init__(self, seed: int, *, loss: float, doubling: float, delay: float) -> None:
        self.random = Random(seed)
        self.loss, self.doubling, self.delay = loss, doubling, delay
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.ends: dict[str, End] = {}

    def at(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._order), action))

    def carry(self, source: Flow, target: Flow, data: bytes) -> None:
        copies = 2 if self.random.random() < self.doubling else 1
        for _ in range(copies):
            if self.random.random() >= self.loss:
                arrive = partial(self.ends[target.host].ua.receive, data, source)
                self.at(self.random.uniform(0.001, self.delay), arrive)

    def run(self, seconds: float) -> None:
        """Let everything happen that is due within so many seconds, in order."""
        end = self.now + seconds
        while True:
            deadlines = [(due, each.ua) for each in self.ends.values() if (due := each.ua.next_deadline())]
            timer = min(deadlines, key=lambda pair: pair[0], default=(float("inf"), None))
            arrival = self._queue[0][0] if self._queue else float("inf")
            if min(timer[0], arrival) > end:
                break
            if arrival <= timer[0]:
                self.now, _, action = heapq.heappop(self._queue)
                action()
            else:
                self.now = max(self.now, timer[0])
                assert timer[1] is not None
                timer[1].handle_timers()
        self.now = end


class End:
    """One user agent on the link; fulfils `Sink`."""

    def __init__(self, link: Link, host: str, on_invite: Callable[[InboundLeg], None]) -> None:
        self.link = link
        self.host = host
        self.drops: list[str] = []
        link.ends[host] = self
        tokens = Random(link.random.random())
        self.ua = UserAgent(
            self, lambda: link.now, lambda: f"{tokens.getrandbits(64):016x}", on_invite=on_invite
        )

    def flow(self, host: str) -> Flow:
        return Flow("udp", host, 5060)

    def send(self, flow: Flow, data: bytes) -> None:
        self.link.carry(self.flow(self.host), flow, data)

    def flow_to(self, near: Flow, transport: str, host: str, port: int) -> Flow:
        return Flow(transport, host, port)

    def local_address(self, flow: Flow) -> tuple[str, int]:
        return self.host, 5060

    def is_open(self, flow: Flow) -> bool:
        return True

    def wake(self, deadline: float) -> None:
        assert deadline >= self.link.now

    def message(self, direction: str, method: str, code: int) -> None: ...

    def retransmission(self, direction: str) -> None: ...

    def dropped(self, reason: str) -> None:
        self.drops.append(reason)

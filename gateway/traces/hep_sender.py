"""Sends every SIP message to Homer over UDP, beside the calls: nobody waits for it, nothing is sent twice."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Final

from gateway.sip.bridge import Witness
from gateway.sip.flow import Flow
from gateway.sip.network import Address
from gateway.traces.hep import Captured, encode
from gateway.traces.redaction import may_hold_secrets, redact

MAX_WAITING: Final = 10_000
"""Messages that wait to be sent, some 10 MB: two seconds at full load. Later ones are counted, not sent."""

BATCH: Final = 200
"""Messages sent in one go: some two milliseconds, then calls have their turn."""

GATHER_SECONDS: Final = 0.02


class HepSender:
    """A witness of what goes over the wire.

    Args:
        homer: where it listens, an IP literal and a port.
        agent_id: who we are to it.
        password: its own, if it wants one.
        local: our address as the peer of a flow sees it.
        clock: seconds since the epoch.
        count: told how many messages were `sent`, or `dropped`.

    """

    def __init__(
        self,
        homer: Address,
        agent_id: int,
        password: str,
        local: Callable[[Flow], Address],
        *,
        clock: Callable[[], float] = time.time,
        count: Callable[[str, int], None] = lambda result, messages: None,
    ) -> None:
        self._homer = homer
        self._agent_id = agent_id
        self._password = password
        self._local = local
        self._clock = clock
        self._count = count
        self._waiting: list[tuple[float, bool, Flow, bytes]] = []
        self._some = asyncio.Event()

    def received(self, flow: Flow, data: bytes) -> None:
        """A message came."""
        self._put(flow, data, out=False)

    def sent(self, flow: Flow, data: bytes) -> None:
        """A message goes."""
        self._put(flow, data, out=True)

    def _put(self, flow: Flow, data: bytes, *, out: bool) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._count("dropped", 1)
            return
        self._waiting.append((self._clock(), out, flow, data))
        self._some.set()

    async def run(self) -> None:
        """Send for as long as the task lives, and what is left at its end.

        Raises:
            OSError: no such socket can be had.

        """
        family = socket.AF_INET6 if ":" in self._homer[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.connect(self._homer)
            try:
                while True:
                    await self._some.wait()
                    await asyncio.sleep(GATHER_SECONDS)
                    while self._waiting:
                        self._send(out)
                        await asyncio.sleep(0)
                    self._some.clear()
            finally:
                while self._waiting:
                    self._send(out)

    def _send(self, out: socket.socket) -> None:
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        dropped = 0
        for at, ours, flow, data in batch:
            here, peer = self._local(flow), (flow.host, flow.port)
            source, destination = (here, peer) if ours else (peer, here)
            shown = redact(data) if may_hold_secrets(data) else data
            captured = Captured(at, flow.transport, source, destination, shown)
            try:
                out.send(encode(captured, self._agent_id, self._password))
            except (OSError, ValueError):  # its buffer is full, nobody listens; an address with a zone
                dropped += 1
        self._count("sent", len(batch) - dropped)
        if dropped:
            self._count("dropped", dropped)


class Witnesses:
    """Several who see every message."""

    def __init__(self, *witnesses: Witness) -> None:
        self._received = tuple(each.received for each in witnesses)
        self._sent = tuple(each.sent for each in witnesses)

    def received(self, flow: Flow, data: bytes) -> None:
        """A message came."""
        for each in self._received:
            each(flow, data)

    def sent(self, flow: Flow, data: bytes) -> None:
        """A message goes."""
        for each in self._sent:
            each(flow, data)

"""All media sockets behind one selector of their own, of which the event loop sees only one descriptor.

The loop's machinery for a callback costs as much as the rest of our work on a packet. With hundreds of
streams each wakeup finds several sockets ready, and that price is paid once for all of them.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import socket
from collections.abc import Callable
from typing import Final

Read = Callable[[], None]

READABLE: Final = getattr(select, "EPOLLIN", selectors.EVENT_READ)


class SocketPoller:
    """Calls back for sockets that have something to read; made inside of a running loop.

    Asks epoll itself where there is one: what the standard library puts around it costs three times as much.
    """

    __slots__ = ("_loop", "_poll", "_reads", "_waits")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waits = select.epoll() if hasattr(select, "epoll") else _Selector()
        self._poll = self._waits.poll
        self._reads: dict[int, Read] = {}
        self._loop.add_reader(self._waits.fileno(), self._wake)

    def add(self, sock: socket.socket, read: Read) -> None:
        """Call `read` in each round that finds something to read there."""
        self._reads[sock.fileno()] = read
        self._waits.register(sock.fileno(), READABLE)

    def remove(self, sock: socket.socket) -> None:
        """Stop calling back, at once."""
        self._waits.unregister(sock.fileno())
        del self._reads[sock.fileno()]

    def close(self) -> None:
        """Let go of the loop; sockets stay as they are."""
        self._loop.remove_reader(self._waits.fileno())
        self._waits.close()

    def _wake(self) -> None:
        # Should a callback raise, the loop reports it, and what this round left unread is found by the next.
        reads = self._reads
        for descriptor, _ in self._poll(0):
            read = reads.get(descriptor)
            if read is not None:  # removed in the same round
                read()


class _Selector:
    """What is asked of `select.epoll`, of another way that the system has, as kqueue."""

    __slots__ = ("_selector",)

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def fileno(self) -> int:
        return self._selector.fileno()

    def register(self, descriptor: int, _events: int) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ)

    def unregister(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)

    def poll(self, seconds: float) -> list[tuple[int, int]]:
        return [(key.fd, events) for key, events in self._selector.select(seconds)]

    def close(self) -> None:
        self._selector.close()

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

Read = Callable[[], None]


class SocketPoller:
    """Calls back for sockets that have something to read; made inside of a running loop.

    Asks epoll itself where there is one: what the standard library puts around it costs three times as much.
    """

    __slots__ = ("_epoll", "_loop", "_reads", "_selector")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # epoll or kqueue: itself a descriptor that can be waited for
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._selector = None if self._epoll is not None else selectors.DefaultSelector()
        self._reads: dict[int, Read] = {}
        if self._epoll is not None:
            self._loop.add_reader(self._epoll.fileno(), self._wake)
        elif self._selector is not None:
            self._loop.add_reader(self._selector, self._wake_by_selector)

    def add(self, sock: socket.socket, read: Read) -> None:
        """Call `read` in each round that finds something to read there."""
        if self._selector is not None:
            self._selector.register(sock, selectors.EVENT_READ, read)
        elif self._epoll is not None:
            self._reads[sock.fileno()] = read
            self._epoll.register(sock.fileno(), select.EPOLLIN)

    def remove(self, sock: socket.socket) -> None:
        """Stop calling back; a round that is under way may still call once."""
        if self._selector is not None:
            self._selector.unregister(sock)
        elif self._epoll is not None:
            self._epoll.unregister(sock.fileno())
            del self._reads[sock.fileno()]

    def close(self) -> None:
        """Let go of the loop; sockets stay as they are."""
        if self._selector is not None:
            self._loop.remove_reader(self._selector)
            self._selector.close()
        elif self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    # Should a callback raise, the loop reports it, and what this round left unread is found by the next.

    def _wake(self) -> None:
        reads = self._reads
        for descriptor, _ in self._epoll.poll(0):  # type: ignore[union-attr]  # it is this or the other
            read = reads.get(descriptor)
            if read is not None:  # removed in the same round
                read()

    def _wake_by_selector(self) -> None:
        for key, _ in self._selector.select(0):  # type: ignore[union-attr]
            key.data()

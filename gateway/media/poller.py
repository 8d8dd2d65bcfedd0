"""All media sockets behind one selector of their own, of which the event loop sees only one descriptor.

The loop's machinery for a callback costs as much as the rest of our work on a packet. With hundreds of
streams each wakeup finds several sockets ready, and that price is paid once for all of them.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Callable


class SocketPoller:
    """Calls back for sockets that have something to read; made inside of a running loop."""

    __slots__ = ("_loop", "_selector")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # epoll or kqueue: itself a descriptor that can be waited for
        self._selector = selectors.DefaultSelector()
        self._loop.add_reader(self._selector, self._wake)

    def add(self, sock: socket.socket, read: Callable[[], None]) -> None:
        """Call `read` in each round that finds something to read there."""
        self._selector.register(sock, selectors.EVENT_READ, read)

    def remove(self, sock: socket.socket) -> None:
        """Stop calling back; a round that is under way may still call once."""
        self._selector.unregister(sock)

    def close(self) -> None:
        """Let go of the loop; sockets stay as they are."""
        self._loop.remove_reader(self._selector)
        self._selector.close()

    def _wake(self) -> None:
        # Should a callback raise, the loop reports it, and what this round left unread is found by the next.
        for key, _ in self._selector.select(0):
            key.data()

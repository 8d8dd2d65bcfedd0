"""Being told when a UDP socket has something: a datagram, room to send, or a reported error.

On Linux an ICMP error makes a socket ready with EPOLLERR. asyncio then runs the reader, but libuv (uvloop)
stops watching the socket and reports EBADF instead. So the socket is watched by an epoll set of its own,
and the event loop watches that set: a nested set is only ever readable (epoll(7)), which every loop
understands, and whatever woke us is found by asking the socket.
"""

from __future__ import annotations

import asyncio
import select
import socket
import sys
from collections.abc import Callable
from typing import Protocol


class Readiness(Protocol):
    """A socket under watch. Its callback runs while there is something to read, or an error."""

    def want_write(self, wanted: bool) -> None:
        """Also call back while there is room to send, or no longer."""

    def close(self) -> None:
        """Stop watching; the socket stays open."""


def watch(loop: asyncio.AbstractEventLoop, sock: socket.socket, callback: Callable[[], None]) -> Readiness:
    """Watch `sock`, level-triggered, in whichever way this system allows."""
    if sys.platform == "linux":
        return _NestedEpoll(loop, sock, callback)
    else:  # noqa: RET505 - mypy takes what follows a platform test for unreachable
        return _LoopReadiness(loop, sock, callback)


if sys.platform == "linux":

    class _NestedEpoll:
        __slots__ = ("_epoll", "_loop", "_sock")

        def __init__(
            self, loop: asyncio.AbstractEventLoop, sock: socket.socket, callback: Callable[[], None]
        ) -> None:
            self._loop, self._sock = loop, sock
            self._epoll = select.epoll()
            self._epoll.register(sock, select.EPOLLIN)
            loop.add_reader(self._epoll.fileno(), callback)

        def want_write(self, wanted: bool) -> None:
            self._epoll.modify(self._sock, select.EPOLLIN | select.EPOLLOUT if wanted else select.EPOLLIN)

        def close(self) -> None:
            if not self._epoll.closed:
                self._loop.remove_reader(self._epoll.fileno())
                self._epoll.close()


class _LoopReadiness:
    __slots__ = ("_callback", "_loop", "_sock")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, callback: Callable[[], None]
    ) -> None:
        self._loop, self._sock, self._callback = loop, sock, callback
        loop.add_reader(sock, callback)

    def want_write(self, wanted: bool) -> None:
        if wanted:
            self._loop.add_writer(self._sock, self._callback)
        else:
            self._loop.remove_writer(self._sock)

    def close(self) -> None:
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)

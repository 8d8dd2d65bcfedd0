"""How long datagrams wait in the kernel until we read them, and how many it had no room for.

The event loop's own lateness does not tell: timers get their turn between two batches of datagrams, however
many of them wait. Linux stamps each datagram when it arrives (socket(7), SO_TIMESTAMPNS) and counts what it
drops (sock_diag(7), SO_MEMINFO). Elsewhere nothing is measured.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Any, Final

# From <asm-generic/socket.h>; the socket module of Python 3.11 does not name them.
_SO_TIMESTAMPNS: Final = 35
_SO_MEMINFO: Final = 55

_TIMESPEC: Final = struct.Struct("@ll")
_DROPS: Final = 8
_MEMINFO: Final = struct.Struct("=9I")

LONGEST_WAIT: Final = 5.0
"""Seconds; more than that is a step of the clock, or a suspended machine."""


class ReceiveQueue:
    """The queue of one UDP socket.

    Attributes:
        wanted: a measurement was asked for: the next datagram is to be read by `receive`.

    """

    __slots__ = ("_lost", "_socket", "_waited", "wanted")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._waited = 0.0
        self._lost = 0
        self.wanted = False
        if sys.platform == "linux":
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def waited(self) -> float:
        """Seconds that the last measured datagram waited; a new one is measured until the next question."""
        waited, self._waited = self._waited, 0.0
        self.wanted = sys.platform == "linux"
        return waited

    def lost(self) -> int:
        """Datagrams dropped by the kernel since the last question."""
        if sys.platform != "linux":
            return 0
        try:
            info = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        except OSError:
            return 0
        before = self._lost
        self._lost = int(_MEMINFO.unpack(info)[_DROPS]) if len(info) == _MEMINFO.size else before
        return (self._lost - before) % 2**32

    def receive(self, size: int) -> tuple[bytes, Any]:
        """Do what `recvfrom` does, and measure.

        Raises:
            OSError: as `recvfrom` does.

        """
        data, control, _, peer = self._socket.recvmsg(size, socket.CMSG_SPACE(_TIMESPEC.size))
        self.wanted = False
        for level, name, stamp in control:
            if (level, name) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS) and len(stamp) >= _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack_from(stamp)
                waited = time.time() - (seconds + nanoseconds * 1e-9)
                self._waited = waited if 0 <= waited <= LONGEST_WAIT else 0.0
        return data, peer

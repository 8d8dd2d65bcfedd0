"""The way of a message from the worker that has read it to the one it belongs to: a socket, never waited for.

Sequenced packets (unix(7)), since they keep messages apart, say at once when nobody is there, and hold as
many as the socket's buffer does; datagrams would hold ten (net.unix.max_dgram_qlen). Who may send is decided
by the directory's permissions.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from gateway.sip.flow import Flow
from gateway.workers.slots import MAX_SLOTS, handover_socket
from gateway.workers.steering import Handed, Purpose

FRAMES_A_WAKEUP: Final = 32
"""Messages taken from one sibling before others get their turn, as `gateway.sip.transport_udp` does."""

SEND_BUFFER: Final = 1024 * 1024
"""Bytes asked of the kernel towards each sibling: what it reads in a tenth of a second. Beyond it the sibling
does not keep up, and whoever has read a message takes it."""

MAX_FRAME: Final = 70_000
"""Bytes of a message with what is said about it; a datagram has 65,535."""

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(tuple[str, int, list[int], tuple[str, str, int, int, str], bytes])


def encode(handed: Handed) -> bytes:
    """A message as it goes through the socket."""
    return _encoder.encode((handed.purpose.value, handed.home, handed.ask, tuple(handed.flow), handed.data))


def decode(frame: bytes) -> Handed:
    """The same back. Raises ValueError."""
    purpose, home, ask, flow, data = _decoder.decode(frame)
    return Handed(Purpose(purpose), home, tuple(ask), Flow(*flow), data)


class Handover:
    """One worker's end of all these ways.

    Args:
        directory: of the sockets.
        slot: of this worker.
        take: called with each message that a sibling hands over.
        on_dropped: told why one got lost: `handover_damaged`.

    """

    def __init__(
        self,
        directory: Path,
        slot: int,
        take: Callable[[Handed], None],
        on_dropped: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._directory = directory
        self._path = handover_socket(directory, slot)
        self._take = take
        self._on_dropped = on_dropped
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._incoming: set[socket.socket] = set()
        self._outgoing: dict[int, socket.socket] = {}

    async def open(self) -> None:
        """Listen. Raises OSError."""
        self._listener = await asyncio.to_thread(_listening, self._path)
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Stop; what siblings have sent and we have not read is lost. Idempotent."""
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for sock in self._incoming:
            self._loop.remove_reader(sock)
            sock.close()
        self._incoming.clear()
        for sock in self._outgoing.values():
            sock.close()
        self._outgoing.clear()

    def hand(self, slot: int, handed: Handed) -> bool:
        """Give a message to a sibling; False if it is not there, or does not keep up. Never blocks."""
        frame = encode(handed)
        known = self._outgoing.get(slot)
        if known is not None:
            try:
                known.send(frame)
            except BlockingIOError:
                return False
            except OSError:  # it has ended; perhaps it has started again since
                self._outgoing.pop(slot).close()
            else:
                return True
        fresh = self._connect(slot)
        if fresh is None:
            return False
        self._outgoing[slot] = fresh
        with suppress(OSError):
            fresh.send(frame)
            return True
        return False

    def _connect(self, slot: int) -> socket.socket | None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            sock.connect(str(handover_socket(self._directory, slot)))
        except OSError:
            sock.close()
            return None
        return sock

    def _accept(self) -> None:
        while self._listener is not None:
            try:
                sock, _ = self._listener.accept()
            except OSError:  # nobody more for now
                return
            if len(self._incoming) >= MAX_SLOTS:
                sock.close()
                continue
            sock.setblocking(False)
            self._incoming.add(sock)
            self._loop.add_reader(sock, self._read, sock)

    def _read(self, sock: socket.socket) -> None:
        for _ in range(FRAMES_A_WAKEUP):
            try:
                frame = sock.recv(MAX_FRAME)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                frame = b""
            if not frame:  # the sibling has ended
                self._loop.remove_reader(sock)
                self._incoming.discard(sock)
                sock.close()
                return
            try:
                handed = decode(frame)
            except ValueError:
                self._on_dropped("handover_damaged")
            else:
                self._take(handed)
            if sock not in self._incoming:  # closed by what was done
                return


def _listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # of the process that had the slot before; sockets leave their name behind
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.setblocking(False)
        listener.bind(str(path))
        listener.listen(MAX_SLOTS)
    except OSError:
        listener.close()
        raise
    return listener

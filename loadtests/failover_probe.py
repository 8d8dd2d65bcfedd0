"""Times how fast a call moves on: from an agent's 503 to the INVITE at the fallback, in microseconds."""

from __future__ import annotations

import socket
import time

from loadtests.latency_probe import LatencyProbe


class FailoverProbe(LatencyProbe):
    """A probe whose number has a first agent, too, which refuses every call with 503.

    moved_on: milliseconds from each 503's departure until the fallback had the INVITE.
    """

    def __init__(self, *, host: str = "127.0.0.1") -> None:
        super().__init__(host=host)
        self._refusing = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._refusing.bind((host, 0))
        self._refused_at = 0
        self.moved_on: list[float] = []
        self._sockets = (*self._sockets, self._refusing)

    @property
    def refusing_uri(self) -> str:
        host, port = self._refusing.getsockname()
        return f"sip:refusing@{host}:{port};media=direct"

    def close(self) -> None:
        super().close()
        self._refusing.close()

    def _serve(self, timeout: float) -> list[tuple[str, bytes]]:
        events = super()._serve(timeout)
        if self._refused_at and any(who == "agent" for who, _ in events):
            self.moved_on.append((time.perf_counter_ns() - self._refused_at) / 1e6)
            self._refused_at = 0
        return events

    def _take(self, sock: socket.socket, message: bytes, source: tuple[str, int]) -> None:
        if sock is not self._refusing:
            super()._take(sock, message, source)
        elif message.startswith(b"INVITE "):
            refusal = self._answer(message, b"SIP/2.0 503 Service Unavailable", body=b"")
            self._refused_at = time.perf_counter_ns()
            sock.sendto(refusal, source)
        elif message.startswith(b"OPTIONS "):
            sock.sendto(self._answer(message, body=b""), source)

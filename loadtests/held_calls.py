"""Calls that stay up until they are told to end, thousands of them: caller and agent in one thread.

SIPp holds a call for as long as its scenario says; growth is measured with so many calls up for as long as it
takes. No more than `WINDOW` calls are being set up or ended at once, so that the gateway is never asked for
more than it takes, however slow the machine is.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Final

from loadtests.latency_probe import LatencyProbe, header

WINDOW: Final = 8
"""Calls under way at once."""

PATIENCE: Final = 20.0
"""Seconds for one call to be set up, or ended: longer, and it is lost."""

BUFFER: Final = 4_194_304
"""Bytes of datagrams that may wait for us."""

_CARRIER_HEADERS: Final = (
    "Max-Forwards: 67\r\n"
    "Diversion: <sip:{number}@pstn.example.com>;reason=unconditional\r\n"
    "P-Asserted-Identity: <sip:+14155550142@{host}:5060>\r\n"
    "Allow: INVITE,ACK,CANCEL,OPTIONS,BYE\r\n"
    "User-Agent: Carrier\r\n"
    "X-Twilio-AccountSid: AC00000000000000000000000000000000\r\n"
    "X-Twilio-CallSid: CA{call:032d}\r\n"
)
"""What a carrier's INVITE has beyond the least."""


class HeldCalls(LatencyProbe):
    """Calls through a gateway to an agent of our own.

    up: the calls that are up, oldest first: the ACK of each, and its BYE.
    lost: calls that did not come up, or were not heard to end.
    """

    def __init__(self, number: str) -> None:
        super().__init__(number=number)
        self.up: dict[bytes, tuple[bytes, bytes]] = {}
        self.lost = 0
        self._pending: dict[bytes, float] = {}
        self._placed = 0
        for sock in self._sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)

    def place(self, count: int) -> None:
        """Set up that many more."""
        assert self.gateway is not None
        host, _ = self._caller.getsockname()
        uri = f"sip:{self.number}@{self.gateway[0]}:{self.gateway[1]}"
        for _ in range(count):
            call = self._placed = self._placed + 1
            more = _CARRIER_HEADERS.format(number=self.number, host=host, call=call).encode()
            invite = self._request("INVITE", uri, call, body=self._body)
            invite = invite.replace(b"Max-Forwards: 60\r\n", more)
            self._begin(header(invite, b"Call-ID:"), invite)
        self._finish_pending()

    def end(self, count: int) -> None:
        """Hang up that many, the oldest first."""
        for key in list(self.up)[:count]:
            _, bye = self.up.pop(key)
            self._begin(key, bye)
        self._finish_pending()

    def wait(self, seconds: float) -> None:
        """Answer whatever comes, for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._read(min(left, 1.0))

    def _begin(self, key: bytes, request: bytes) -> None:
        assert self.gateway is not None
        while len(self._pending) >= WINDOW:
            self._read(0.1)
        self._pending[key] = time.monotonic() + PATIENCE
        self._caller.sendto(request, self.gateway)

    def _finish_pending(self) -> None:
        while self._pending:
            self._read(0.1)

    def _read(self, timeout: float) -> None:
        readable, _, _ = select.select(self._sockets, [], [], timeout)
        for sock in readable:
            message, source = sock.recvfrom(65_535)
            if sock is self._caller and message.startswith(b"SIP/2.0 "):
                self._heard(message)
            else:
                self._take(sock, message, source)
        now = time.monotonic()
        for key in [key for key, due in self._pending.items() if due < now]:
            del self._pending[key]
            self.lost += 1

    def _heard(self, message: bytes) -> None:
        """Take a response to the caller."""
        assert self.gateway is not None
        status, key = int(message[8:11]), header(message, b"Call-ID:")
        if status < 200:
            return
        cseq = header(message, b"CSeq:")
        if cseq.endswith(b" INVITE") and status == 200:
            if key not in self.up and key in self._pending:
                target = header(message, b"Contact:").partition(b"<")[2].partition(b">")[0].decode()
                tag = ";tag=" + header(message, b"To:").decode().rpartition(";tag=")[2]
                call = int(key.rpartition(b"-")[2])
                self.up[key] = (
                    self._request("ACK", target, call, tag),
                    self._request("BYE", target, call, tag),
                )
            if key in self.up:
                self._caller.sendto(self.up[key][0], self.gateway)
        elif status != 200:
            self.lost += 1
        self._pending.pop(key, None)

"""ICMP errors about datagrams that we sent (RFC 3261 §18.4), as Linux queues them: ip(7), IP_RECVERR.

A datagram to a port where nobody listens comes back as "port unreachable" within a round trip. Hearing that
lets a call move on to its next destination at once instead of after a timeout. The kernel has checked that
the quoted datagram left by this very socket.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator

from gateway.sip.network import Address

# From <linux/in.h> and <linux/in6.h>; the socket module of Python 3.11 does not name them.
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_DONT = 0

# struct sock_extended_err: errno, origin, ICMP type, ICMP code; padding and the rest are not needed.
_EXTENDED_ERROR = struct.Struct("=IBBB")
_EXTENDED = {(socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)}
_ORIGIN_ICMP, _ORIGIN_ICMP6 = 2, 3
_UNREACHABLE = {(_ORIGIN_ICMP, 3), (_ORIGIN_ICMP6, 1)}
"""(origin, ICMP type) of "destination unreachable". §18.4 wants "time exceeded" and the like ignored."""

_QUOTED = 64
"""Bytes read of the datagram that is quoted back: nobody looks at them."""

_CONTROL = 256
"""Bytes for the control message: 16 of the extended error, the offender's address, and its headers."""

_MAX_ERRORS = 64
"""Errors read in one go, so that a flood of ICMP cannot hold up the event loop."""


def report_errors(sock: socket.socket) -> None:
    """Have ICMP errors queued on an unconnected UDP socket; does nothing on systems other than Linux.

    Path MTU discovery goes off with it: SIP over UDP may need fragments (Telnyx's INVITEs do), and a DF bit
    would turn them into errors.
    """
    if sys.platform != "linux":
        return
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)


def read_errors(sock: socket.socket) -> Iterator[tuple[Address, str]]:
    """Take the queued errors: where the datagram had been sent, and a reason fit for a log line.

    Taking an error also clears the pending one that the next send or receive would have raised.
    """
    if sys.platform != "linux":
        return
    for _ in range(_MAX_ERRORS):
        try:
            _, control, _, destination = sock.recvmsg(_QUOTED, _CONTROL, socket.MSG_ERRQUEUE)
        except OSError:  # empty, or the socket is closed
            return
        for level, name, data in control:
            if (level, name) not in _EXTENDED:
                continue
            number, origin, kind, _ = _EXTENDED_ERROR.unpack_from(data)
            if (origin, kind) in _UNREACHABLE:
                yield (destination[0], destination[1]), reason_of(number)


def reason_of(number: int | None) -> str:
    """Name an errno in the words of the log: ``connection refused``, ``no route to host``."""
    if number == errno.ECONNREFUSED:
        return "connection refused"
    return os.strerror(number).lower() if number else "network error"

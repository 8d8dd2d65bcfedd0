from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import Any

import pytest

from gateway.sip.icmp import read_errors, reason_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the error queue is Linux's")

IP = (socket.IPPROTO_IP, 11)
IPV6 = (socket.IPPROTO_IPV6, 25)


class ErrorQueue:
    """The part of a socket that is asked for errors; real ones of every kind cannot be ordered up."""

    def __init__(self, *entries: tuple[Any, tuple[str, int]]) -> None:
        self._entries = list(entries)

    def recvmsg(self, size: int, control: int, flags: int) -> tuple[bytes, Any, int, tuple[str, int]]:
        assert flags == socket.MSG_ERRQUEUE
        if not self._entries:
            raise BlockingIOError
        messages, destination = self._entries.pop(0)
        return b"INVITE sip:x SIP/2.0"[:size], messages, flags, destination


def error(kind: tuple[int, int], number: int, origin: int, icmp_type: int) -> tuple[int, int, bytes]:
    return (*kind, struct.pack("=IBBBxII", number, origin, icmp_type, 3, 0, 0) + bytes(16))


def errors_of(*entries: tuple[Any, tuple[str, int]]) -> list[tuple[tuple[str, int], str]]:
    return list(read_errors(ErrorQueue(*entries)))  # type: ignore[arg-type]


def test_unreachable_destinations_are_named() -> None:
    refused = ([error(IP, errno.ECONNREFUSED, 2, 3)], ("192.0.2.1", 5060))
    no_route = ([error(IPV6, errno.EHOSTUNREACH, 3, 1)], ("2001:db8::1", 5070))
    assert errors_of(refused, no_route) == [
        (("192.0.2.1", 5060), "connection refused"),
        (("2001:db8::1", 5070), "no route to host"),
    ]


@pytest.mark.parametrize(
    "message",
    [
        error(IP, errno.EHOSTUNREACH, 2, 11),  # time exceeded: RFC 3261 §18.4 wants it ignored
        error(IPV6, errno.EHOSTUNREACH, 3, 3),
        error(IP, errno.EMSGSIZE, 1, 0),  # found by our own system: the send has told it
        (socket.SOL_SOCKET, 29, b""),  # some other control message
    ],
)
def test_other_errors_are_taken_and_ignored(message: tuple[int, int, bytes]) -> None:
    refused = ([error(IP, errno.ECONNREFUSED, 2, 3)], ("192.0.2.2", 5060))
    assert errors_of(([message], ("192.0.2.1", 5060)), refused) == [
        (("192.0.2.2", 5060), "connection refused")
    ]


def test_a_flood_of_errors_is_read_in_portions() -> None:
    refused = ([error(IP, errno.ECONNREFUSED, 2, 3)], ("192.0.2.1", 5060))
    assert 0 < len(errors_of(*[refused] * 1_000)) < 1_000


def test_reasons_are_words() -> None:
    assert reason_of(errno.ECONNREFUSED) == "connection refused"
    assert reason_of(errno.ENETUNREACH) == "network is unreachable"
    assert reason_of(None) == "network error"

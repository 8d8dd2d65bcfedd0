"""Sockets that a service manager has opened for us (systemd.socket(5), sd_listen_fds(3)).

It keeps them open while we are away: what is sent meanwhile waits in them for whoever starts next. Workers
all read the same ones, where they would else bind one each.

Either all sockets towards carriers and `web.listen` are passed, or none: one that was forgotten would be
closed at every restart, and one that is of no use would hold what nobody ever reads.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from typing import Final, NamedTuple, TypeAlias

from gateway.config import ListenVariables, Settings
from gateway.faults import StartError
from gateway.listening import Kind, Place, carrier_places, web_place
from gateway.sip.addresses import AddressError, format_address
from gateway.sip.network import Address

FIRST: Final = 3
"""The first descriptor (SD_LISTEN_FDS_START)."""

MAX_PASSED: Final = 64
"""Descriptors looked at; `gateway.sip.network.LISTENER_BITS` allows for no more listeners."""

DIRECTIVES: Final[dict[Kind, str]] = {"udp": "ListenDatagram", "tcp": "ListenStream"}
"""What a socket unit says for each."""

_TYPES: Final = (socket.SOCK_DGRAM, socket.SOCK_STREAM)

Held: TypeAlias = Mapping[tuple[str, Address], socket.socket]
"""Sockets that are there already, by what the configuration says of them."""


class Passed(NamedTuple):
    """One of them. name: as FileDescriptorName= of its unit has it."""

    kind: Kind
    address: Address
    name: str
    socket: socket.socket


def held_sockets(settings: Settings, variables: ListenVariables) -> Held:
    """What was passed to this process, each for its place in the configuration; none if nothing was.

    Raises:
        StartError: one is missing, is of no use, or is no socket of ours.

    """
    with ExitStack() as opened:
        passed = []
        for each in _passed(variables):
            opened.enter_context(each.socket)
            passed.append(each)
        held = _placed(passed, settings) if passed else {}
        opened.pop_all()
    return held


def _placed(passed: Sequence[Passed], settings: Settings) -> Held:
    held: dict[tuple[str, Address], socket.socket] = {}
    left = list(passed)
    for place in (*carrier_places(settings), web_place(settings)):
        try:
            address = place.address
        except AddressError as error:
            raise StartError(f"{place.key}: {error}") from None
        found = next((each for each in left if _is_at(each, place.kind, address)), None)
        if found is None:
            line = f"{DIRECTIVES[place.kind]}={place.text}"
            raise StartError(f"{place} was not passed: add {line} to the socket unit, or pass no sockets")
        left.remove(found)
        held[place.kind, address] = found.socket
    for each in left:
        raise StartError(_of_no_use(each, settings))
    return held


def of_web(held: Held, settings: Settings) -> socket.socket | None:
    """The one for `web.listen`, if sockets were passed."""
    return held["tcp", web_place(settings).address] if held else None


def _passed(variables: ListenVariables) -> Iterator[Passed]:
    if variables.pid != str(os.getpid()):
        return  # of nobody, or of a process before us
    if not (variables.fds.isascii() and variables.fds.isdigit() and int(variables.fds) <= MAX_PASSED):
        raise StartError(f"LISTEN_FDS: {variables.fds!r} is no number of sockets up to {MAX_PASSED}")
    names = variables.fdnames.split(":")
    for index in range(int(variables.fds)):
        yield _described(FIRST + index, names[index] if index < len(names) else "")


def _described(descriptor: int, name: str) -> Passed:
    """A descriptor as a socket. Raises StartError."""
    which = f"LISTEN_FDS: descriptor {descriptor}" + (f" ({name})" if name else "")
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise StartError(f"{which} is no socket: remove it from the socket unit")
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise StartError(f"{which}: {error.strerror}") from None
    fault = _fault_of(sock)
    if fault:
        sock.close()
        raise StartError(f"{which} {fault}")
    host, port = sock.getsockname()[:2]
    return Passed("udp" if sock.type == socket.SOCK_DGRAM else "tcp", (host, port), name, sock)


def _fault_of(sock: socket.socket) -> str:
    """Why a socket cannot be listened on, and what to do; empty if it can."""
    if sock.family not in {socket.AF_INET, socket.AF_INET6} or sock.type not in _TYPES:
        return "is neither UDP nor TCP: remove it from the socket unit"
    if sock.type == socket.SOCK_STREAM and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen: write Accept=no into the socket unit"
    if sock.family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        return "takes IPv4 as well: write BindIPv6Only=ipv6-only into the socket unit"
    return ""


def _is_at(passed: Passed, kind: Kind, address: Address) -> bool:
    host, port = passed.address
    return (passed.kind, ip_address(host), port) == (kind, ip_address(address[0]), address[1])


def _of_no_use(passed: Passed, settings: Settings) -> str:
    text = format_address(passed.address)
    where = f"{DIRECTIVES[passed.kind]}={text}"
    if settings.sip.tls_certificate is None:
        for listen in settings.sip.tls_listen:
            with suppress(AddressError):
                if _is_at(passed, "tcp", Place("sip.tls_listen", listen, "tcp").address):
                    return f"sip.tls_certificate: needed for {where}, or remove that from the socket unit"
    return (
        f"sip.listen: nothing is to listen where {where} of the socket unit is; add {text} here, to"
        " sip.tls_listen or to web.listen, or remove it there"
    )

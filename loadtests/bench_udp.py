"""CPU a datagram: the SIP transport, and asyncio's own, under asyncio and uvloop.

    python loadtests/bench_udp.py [datagrams]

A process of its own sends 700-byte datagrams (a small INVITE), keeping `WINDOW` of them on their way; the
process under test sends each one back. What is printed is the CPU time of that process, receiving and
sending together, so that the sender's speed does not matter.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection

import uvloop

from gateway.sip.flow import Flow
from gateway.sip.network import Address
from gateway.sip.transport_udp import UdpTransport

SIZE = 700
WINDOW = 32
REPORT = b"done"

Serve = Callable[[Connection], Coroutine[None, None, None]]


class Echo:
    """Sends everything back; a `gateway.sip.network.Receiver`."""

    def __init__(self, finished: asyncio.Event) -> None:
        self._finished = finished
        self.transport: UdpTransport

    def message_received(self, data: bytes, flow: Flow) -> None:
        if len(data) > SIZE:
            self._finished.set()
        self.transport.send(flow, data)

    def flow_failed(self, flow: Flow, reason: str) -> None:
        raise AssertionError(f"{flow}: {reason}")

    def admits(self, host: str) -> bool:
        return True

    def dropped(self, reason: str) -> None:
        raise AssertionError(reason)


class EchoProtocol(asyncio.DatagramProtocol):
    """The same with asyncio's transport."""

    def __init__(self, finished: asyncio.Event) -> None:
        self._finished = finished

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Address) -> None:
        if len(data) > SIZE:
            self._finished.set()
        self._transport.sendto(data, address)  # type: ignore[attr-defined]


async def serve_drained(pipe: Connection) -> None:
    finished = asyncio.Event()
    echo = Echo(finished)
    echo.transport = UdpTransport(("127.0.0.1", 0), 1, echo)
    await measure(pipe, echo.transport.address, finished)
    echo.transport.close()


async def serve_loop_transport(pipe: Connection) -> None:
    finished = asyncio.Event()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: EchoProtocol(finished), local_addr=("127.0.0.1", 0)
    )
    await measure(pipe, transport.get_extra_info("sockname"), finished)
    transport.close()


async def measure(pipe: Connection, address: Address, finished: asyncio.Event) -> None:
    pipe.send(address)
    before = time.process_time()
    await finished.wait()
    pipe.send(time.process_time() - before)


def serve(pipe: Connection, serve: Serve, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(pipe))


def drive(address: Address, datagrams: int) -> None:
    """Keep `WINDOW` datagrams under way until `datagrams` have come back."""
    data = bytes(SIZE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.settimeout(5)
        for _ in range(WINDOW):
            sock.send(data)
        for _ in range(datagrams - WINDOW):
            sock.recv(SIZE)
            sock.send(data)
        for _ in range(WINDOW):
            sock.recv(SIZE)
        sock.send(data + REPORT)
        sock.recv(SIZE + len(REPORT))


def microseconds(server: Serve, factory: Callable[[], asyncio.AbstractEventLoop], datagrams: int) -> float:
    """CPU time of one datagram in and out."""
    near, far = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(far, server, factory))
    process.start()
    drive(near.recv(), datagrams)
    seconds: float = near.recv()
    process.join()
    return seconds / datagrams * 1e6


def main() -> None:
    datagrams = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    servers = {
        "SIP transport (drained socket)": serve_drained,
        "the loop's own transport": serve_loop_transport,
    }
    factories = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    print(f"CPU µs per datagram in and out, {SIZE} bytes, {datagrams:,} datagrams, {WINDOW} under way")
    for title, server in servers.items():
        for name, factory in factories.items():
            print(f"{title:32} {name:8} {microseconds(server, factory, datagrams):6.1f}", flush=True)


if __name__ == "__main__":
    main()

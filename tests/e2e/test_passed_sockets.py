"""A gateway whose sockets a service manager keeps open: nothing is lost while nobody is there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import carriers
from tests.e2e.exchange import HOST, Exchange
from tests.e2e.gateway_process import wait_until
from tests.e2e.sipp import free_port
from tests.e2e.two_ends import TwoEnds
from tests.e2e.wire import Peer, new_branch, write

pytestmark = pytest.mark.e2e

Sockets = tuple[socket.socket, socket.socket, socket.socket]


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """SIP over UDP and TCP on one port, and HTTP: as a socket unit opens them."""
    port = free_port(HOST)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.create_server((HOST, port)) as tcp,
        socket.create_server((HOST, free_port(HOST))) as web,
    ):
        udp.bind((HOST, port))
        yield udp, tcp, web


def options(carrier: Peer) -> bytes:
    headers = [
        ("Via", f"SIP/2.0/UDP {carrier.hostport};branch={new_branch()}"),
        ("From", f"<sip:{carrier.hostport}>;tag=1"),
        ("To", "<sip:us>"),
        ("Call-ID", new_branch()),
        ("CSeq", "1 OPTIONS"),
        ("Max-Forwards", "70"),
    ]
    return write("OPTIONS sip:us SIP/2.0", headers)


def test_what_comes_while_nobody_is_there_waits_for_who_starts_next(tmp_path: Path, sockets: Sockets) -> None:
    """Each message is sent once, and never again: what is answered was not lost."""
    udp, tcp, web = sockets
    with Peer(carriers.TWILIO_HOST) as probe, socket.socket() as streamed:
        probe.send(options(probe), udp.getsockname())
        streamed.bind((carriers.TWILIO_HOST, 0))
        streamed.connect(tcp.getsockname())
        streamed.sendall(options(probe).replace(b"/UDP ", b"/TCP "))
        with socket.create_connection(web.getsockname()) as client:
            client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            exchange = Exchange(tmp_path, passed=sockets)  # one process
            assert client.recv(64).startswith(b"HTTP/1.0 200 ")
        probe.receive(200)
        streamed.settimeout(30.0)
        assert streamed.recv(64).startswith(b"SIP/2.0 200 ")
    assert exchange.gateway.metric("gateway_passed_sockets") == 3
    with TwoEnds(exchange) as first, TwoEnds(exchange) as second:
        first.hang_up(*first.connect())
        exchange.gateway.stop()
        second.call.send()
        workers = {"count": 2, "port": free_port(HOST), "tls_port": 19_000}
        with exchange.start_again(workers=workers) as gateway:  # an office, and two that read one socket
            second.carrier.receive(100)
            invite = second.agent.receive("INVITE")
            second.answer(invite)
            _, caller = second.call.answered()
            second.agent.receive("ACK")
            caller.hang_up()
            second.agent.receive("BYE")
            assert gateway.metric("gateway_passed_sockets") == 3
            assert gateway.metric("gateway_sip_dropped_total", reason="receive_buffer_full") == 0
            for _ in range(6):
                with TwoEnds(exchange) as ends:
                    ends.hang_up(*ends.connect())
            wait_until(lambda: gateway.metric("gateway_calls_total", outcome="agent") == 7, "all are counted")

"""A gateway is killed in the middle of calls; it starts again, or another one is there."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.e2e.carriers import Call, audio_offer
from tests.e2e.exchange import HOST, Exchange
from tests.e2e.gateway_process import GatewayProcess, wait_until
from tests.e2e.sipp import free_port, require
from tests.e2e.two_ends import ASKED_WITHIN, DIRECT, TwoEnds
from tests.e2e.wire import Peer

pytestmark = pytest.mark.e2e


class SilentSocket:
    """An agent on a WebSocket: shakes hands, listens, and never says anything."""

    _KEY = re.compile(rb"sec-websocket-key: *(\S+)", re.IGNORECASE)
    _GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3

    def __init__(self) -> None:
        self._server = socket.create_server((HOST, 0))
        self.url = f"ws://{HOST}:{self._server.getsockname()[1]}/ws"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection:
            found = self._KEY.search(connection.recv(4096))
            assert found
            accept = base64.b64encode(hashlib.sha1(found[1] + self._GUID).digest()).decode()
            connection.sendall(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
            )
            try:
                while connection.recv(65_536):
                    pass
            except ConnectionError:
                pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.close()
        self._thread.join(5)


def _kept(gateway: GatewayProcess) -> None:
    """What there is to be known of the calls is in Redis."""
    time.sleep(0.6)  # the state waits for the next write, which nothing outside shows
    assert gateway.metric("gateway_continuity_waiting") == 0
    assert gateway.metric("gateway_continuity_failures_total") == 0


def _silent(*ends: TwoEnds) -> None:
    """Nobody is told anything twice."""
    for each in ends:
        for peer in (each.carrier, each.agent):
            peer.receive_nothing(0.1)


def test_calls_go_on_in_a_gateway_that_was_killed_and_started_again(tmp_path):
    exchange = Exchange(tmp_path, dispatch={"response_timeout": 2.0, "ring_timeout": 10.0})
    with (
        SilentSocket() as bot,
        TwoEnds(exchange, uri_suffix=DIRECT) as first,
        TwoEnds(exchange, uri_suffix=DIRECT) as second,
        TwoEnds(exchange) as relayed,
        Peer(first.carrier.address[0]) as carrier,
    ):
        legs = [each.connect() for each in (first, second, relayed)]
        streamed = Call(carrier, exchange.gateway.sip, exchange.line(bot.url).number, first.call.sdp)
        streamed.send()
        _, to_bot = streamed.answered()
        _kept(exchange.gateway)
        exchange.gateway.kill()
        with exchange.start_again() as gateway:
            # Whose audio has died with the gateway is told so: both sides of them.
            for dialog in (*legs[2], to_bot):
                assert "cause=503" in dialog.expect_bye(timeout=ASKED_WITHIN)["reason"]
            # The others are asked whether they are still there.
            first.both_asked(*legs[0])
            second.both_asked(*legs[1])
            assert gateway.metric("gateway_orphaned_calls_total", result="adopted") == 2
            assert gateway.metric("gateway_orphaned_calls_total", result="ended") == 2
            # The carrier says goodbye, and the agent hears it.
            first.hang_up(*legs[0])
            # The carrier changes the session, the agent is asked, and says goodbye in the end.
            caller, callee = legs[1]
            caller.send("INVITE", body=_moved(second.caller_audio.address, "sendonly"))
            passed_on = second.agent.receive("INVITE")
            assert "a=sendonly" in passed_on.body.decode()
            answer = _moved(second.agent_audio.address, "recvonly")
            contact = [("Contact", f"<sip:agent@{second.agent.hostport}>")]
            second.agent.respond(passed_on, 200, "OK", headers=contact, body=answer)
            second.agent.receive("ACK")
            ok = second.carrier.receive_final()
            assert (ok.status, "a=recvonly" in ok.body.decode()) == (200, True)
            caller.ack(ok)
            callee.hang_up()
            caller.expect_bye()
            wait_until(lambda: gateway.metric("gateway_calls_active") == 0, "no call is left")
            assert gateway.metric("gateway_calls_total", outcome="agent") == 4
            _silent(first, second, relayed)


def _moved(address: tuple[str, int], direction: str) -> str:
    return audio_offer(*address, direction=direction, version=9)


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis that two gateways share."""
    port = free_port(HOST)
    command = [require("redis-server"), "--port", str(port), "--bind", HOST, "--save", ""]
    with subprocess.Popen([*command, "--dir", str(tmp_path)], stdout=subprocess.DEVNULL) as server:
        yield f"redis://{HOST}:{port}"
        server.terminate()


def test_another_gateway_goes_on_with_the_calls_of_one_that_died(tmp_path, redis_url):
    shared = {"redis": {"url": redis_url}, "continuity": {"lease": 3.0}}
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    exchange, other = Exchange(tmp_path / "first", **shared), Exchange(tmp_path / "second", **shared)
    with (
        other.gateway as gateway,
        TwoEnds(exchange, uri_suffix=DIRECT) as ends,
        TwoEnds(exchange, uri_suffix=DIRECT) as gone,
    ):
        caller, callee = ends.connect()
        legs = gone.connect()
        _kept(exchange.gateway)
        exchange.gateway.kill()
        # A goodbye that nobody has heard: whoever is asked later knows of no call.
        legs[0].send("BYE")
        ends.both_asked(caller, callee)
        invite = gone.carrier.receive("INVITE", timeout=ASKED_WITHIN)
        gone.carrier.respond(invite, 481, "Call/Transaction Does Not Exist")
        gone.carrier.receive("ACK")
        while (message := gone.agent.receive("INVITE", "ACK", "BYE", timeout=ASKED_WITHIN)).method != "BYE":
            if message.method == "INVITE":
                gone.agent.respond(message, 491, "Request Pending")
        gone.agent.respond(message, 200, "OK")
        assert caller.next_hop == gateway.sip
        ends.hang_up(caller, callee)
        wait_until(lambda: gateway.metric("gateway_calls_active") == 0, "no call is left")
        assert gateway.metric("gateway_orphaned_calls_total", result="adopted") == 2
        _silent(ends)

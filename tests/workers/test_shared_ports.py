"""Two user agents on one SIP port, as two processes have it: real sockets, and the kernel's own choice."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.sip.endpoint import random_tokens
from gateway.sip.events import AckReceived
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.transport import SocketNetwork
from gateway.telemetry.metrics import Metrics
from gateway.worker_post import WorkerPost
from gateway.worker_seat import Order, Seat
from gateway.workers.marks import marked
from tests.e2e.sipp import free_port
from tests.sip.recorder import until
from tests.sip.test_endpoint import ANSWER, OFFER, House

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])


class Sharing:
    """One of the two."""

    def __init__(self, directory: Path, slot: int, port: int, *, restarted: bool = False) -> None:
        order = Order(
            slot=slot,
            members=[1, 2],
            elders=[],
            restarted=restarted,
            redis_url="",
            advertised_host="",
            events=False,
            draining=False,
        )
        shared = [("127.0.0.1", port)]
        self.post = WorkerPost(
            Seat(order, directory, shared, (), ()),
            lambda data: self.house.endpoint.knows(data),
            lambda flow, data: self.house.endpoint.send_through(flow, data),
            Metrics(),
        )
        self.house = House(
            listen=[f"127.0.0.1:{port}"],
            own_listen=["127.0.0.1:0"],
            network=SocketNetwork(shared=shared, lend=self.post.lend),
            tokens=marked(random_tokens(), slot),
            steer=self.post.steer,
            steer_own=self.post.steer_own,
        )
        self.house.on_invite = self._answer

    def _answer(self, leg: InboundLeg) -> None:
        if leg.call_id.startswith("answered"):
            leg.answer(ANSWER)


class Carrier:
    """All of its calls come from one socket."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self._us = ("127.0.0.1", port)
        self._hostport = "{}:{}".format(*self.socket.getsockname())

    def send(self, method: str, call: str, *, to: str = "", cseq: int = 1, branch: str = "") -> None:
        self.socket.sendto(self.written(method, call, to=to, cseq=cseq, branch=branch), self._us)

    def written(
        self, method: str, call: str, *, to: str = "", cseq: int = 1, branch: str = "", transport: str = "UDP"
    ) -> bytes:
        body = OFFER if method == "INVITE" else b""
        head = (
            f"{method} sip:+14155550100@gateway SIP/2.0\r\n"
            f"Via: SIP/2.0/{transport} {self._hostport};branch=z9hG4bK{branch or call}\r\n"
            f"From: <sip:carrier@example.com>;tag=theirs\r\nTo: <sip:+14155550100@gateway>{to}\r\n"
            f"Call-ID: {call}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{self._hostport}>\r\n"
            f"Max-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def heard(self, status: int, method: str) -> str:
        """The next response of that kind; it must come from where the request went."""
        while True:
            text, source = await self.receive()
            if text.startswith(f"SIP/2.0 {status}") and f" {method}\r\n" in text:
                assert source == self._us
                return text

    async def receive(self) -> tuple[str, tuple[str, int]]:
        """The next message, whatever it is."""
        async with asyncio.timeout(5):
            while True:
                try:
                    data, source = self.socket.recvfrom(65_535)
                except BlockingIOError:
                    await asyncio.sleep(0.002)
                else:
                    return data.decode(), source


@pytest.fixture
async def sharing(tmp_path: Path) -> AsyncIterator[tuple[Sharing, Sharing, Carrier]]:
    port = free_port("127.0.0.1")
    both = Sharing(tmp_path, 1, port), Sharing(tmp_path, 2, port)
    for each in both:
        await each.post.open()
        await each.house.endpoint.start()
    carrier = Carrier(port)
    yield *both, carrier
    carrier.socket.close()
    for each in both:
        await each.house.endpoint.stop()
        each.post.close()
        assert not each.house.errors


async def test_calls_of_one_socket_reach_both_and_their_cancel_finds_them(
    sharing: tuple[Sharing, Sharing, Carrier],
) -> None:
    one, two, carrier = sharing
    for number in range(16):
        carrier.send("INVITE", f"call-{number}")
    await until(lambda: len(one.house.legs) + len(two.house.legs) == 16)
    assert min(len(one.house.legs), len(two.house.legs)) >= 3
    for number in range(16):
        carrier.send("INVITE", f"call-{number}")  # again: no call more
        carrier.send("CANCEL", f"call-{number}")
        await carrier.heard(200, "CANCEL")
    assert len(one.house.legs) + len(two.house.legs) == 16
    assert all(leg.ended for each in (one, two) for leg in each.house.legs)


async def test_what_is_in_a_dialog_finds_its_process_by_the_shared_port_too(
    sharing: tuple[Sharing, Sharing, Carrier],
) -> None:
    one, two, carrier = sharing
    own = [each.house.endpoint._listeners for each in (one, two)]
    contacts = set()
    for number in range(8):
        call = f"answered-{number}"
        carrier.send("INVITE", call)
        answer = await carrier.heard(200, "INVITE")
        tag = re.search(r"\nTo: [^\r\n]*(;tag=\w+)", answer)
        contact = re.search(r"\nContact: <sip:127.0.0.1:(\d+)>", answer)
        assert tag is not None
        assert contact is not None
        contacts.add(int(contact[1]))
        carrier.send("ACK", call, to=tag[1], branch=f"ack{number}")
        carrier.send("BYE", call, to=tag[1], cseq=2, branch=f"bye{number}")
        await carrier.heard(200, "BYE")
    bound = {listener.address[1] for each in own for listener in each}
    assert len(contacts) == 2
    assert contacts < bound - {carrier._us[1]}


async def test_a_call_that_a_sibling_has_taken_over_is_found_by_every_port(tmp_path: Path) -> None:
    """Worker 1 had it and has started again; its peer knows of nobody else."""
    port = free_port("127.0.0.1")
    before, two = Sharing(tmp_path, 1, port), Sharing(tmp_path, 2, port)
    await two.house.endpoint.start()
    await two.post.open()
    carrier = Carrier(port)
    await before.house.endpoint.start()
    await before.post.open()
    states = []
    for number in range(2):
        while len(before.house.legs) <= number:
            call = f"answered-{time.monotonic_ns()}"
            carrier.send("INVITE", call)
            tag = re.search(r"\nTo: [^\r\n]*(;tag=\w+)", await carrier.heard(200, "INVITE"))
            assert tag is not None
            carrier.send("ACK", call, to=tag[1], branch=f"{call}ack")
        leg = before.house.legs[number]
        states.append(leg.state)
    await before.house.endpoint.stop()
    before.post.close()
    again = Sharing(tmp_path, 1, port, restarted=True)
    await again.house.endpoint.start()
    await again.post.open()
    own = next(each.address for each in again.house.endpoint._listeners if each.side.key == "workers.port")
    for state, address in zip(states, (own, carrier._us), strict=True):
        two.house.endpoint.rebuild(state, peer="carrier", listener=two.house.events.append)
        bye = carrier.written(
            "BYE", state.call_id, to=f";tag={state.local_tag}", cseq=9, branch=state.call_id
        )
        carrier.socket.sendto(bye, address)
        text = ""
        while " BYE\r\n" not in text:
            text, _ = await carrier.receive()
        assert text.startswith("SIP/2.0 200")
    carrier.socket.close()
    for each in (again, two):
        await each.house.endpoint.stop()
        each.post.close()
        assert not each.house.errors


async def test_requests_of_ours_leave_from_the_own_port_so_that_their_answers_come_back(
    sharing: tuple[Sharing, Sharing, Carrier],
) -> None:
    one, _, carrier = sharing
    while not one.house.legs:
        call = f"answered-{time.monotonic_ns()}"
        carrier.send("INVITE", call)
        tag = re.search(r"\nTo: [^\r\n]*(;tag=\w+)", await carrier.heard(200, "INVITE"))
        assert tag is not None
        carrier.send("ACK", call, to=tag[1], branch=f"{call}ack")
    await until(lambda: one.house.has(AckReceived))
    one.house.legs[0].hangup()
    text = ""
    while not text.startswith("BYE "):
        text, source = await carrier.receive()
    assert source[1] != carrier._us[1]
    assert f"Via: SIP/2.0/UDP 127.0.0.1:{source[1]};branch=z9hG4bK" in text


async def test_calls_of_one_connection_reach_both_and_all_answers_come_by_it(
    sharing: tuple[Sharing, Sharing, Carrier],
) -> None:
    one, two, carrier = sharing
    reader, writer = await asyncio.open_connection(*carrier._us)
    for number in range(16):
        writer.write(carrier.written("INVITE", f"answered-{number}", transport="TCP"))
    heard = b""
    async with asyncio.timeout(5):
        while heard.count(b"SIP/2.0 200 OK") < 16:
            heard += await reader.read(65_536)
    assert min(len(one.house.legs), len(two.house.legs)) >= 3
    for each in (one, two):
        for leg in each.house.legs:
            tag = f";tag={leg.local_tag}"
            writer.write(
                carrier.written("ACK", leg.call_id, to=tag, branch=f"{leg.call_id}a", transport="TCP")
            )
    await until(
        lambda: (
            sum(isinstance(event, AckReceived) for each in (one, two) for event in each.house.events) == 16
        )
    )
    for each in (one, two):
        for leg in each.house.legs:
            leg.hangup()
    async with asyncio.timeout(5):
        while heard.count(b"BYE sip:") < 16:
            heard += await reader.read(65_536)
    writer.close()

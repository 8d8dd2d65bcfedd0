from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from gateway.sip.flow import Flow
from gateway.workers.handover import Handover, encode
from gateway.workers.slots import handover_socket
from gateway.workers.steering import Handed, Purpose
from tests.sip.recorder import until

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])

FLOW = Flow("udp", "2001:db8::1", 5060, 3)


def handed(data: bytes = b"INVITE sip:us SIP/2.0\r\n\r\n") -> Handed:
    return Handed(Purpose.KNOWN, 2, (1, 4), FLOW, data)


async def test_messages_arrive_whole_and_in_order(tmp_path: Path) -> None:
    taken: list[Handed] = []
    one, two = Handover(tmp_path, 1, taken.append), Handover(tmp_path, 2, taken.append)
    await one.open()
    await two.open()
    sent = [handed(b"\0" * 65_507), *(handed(f"{number}".encode()) for number in range(100))]
    for each in sent:
        assert one.hand(2, each)
    await until(lambda: len(taken) == len(sent))
    assert taken == sent
    one.close()
    two.close()


async def test_nobody_there_is_said_at_once_and_a_restart_is_found(tmp_path: Path) -> None:
    taken: list[Handed] = []
    one, two = Handover(tmp_path, 1, taken.append), Handover(tmp_path, 2, taken.append)
    await one.open()
    assert not one.hand(2, handed())
    await two.open()
    assert one.hand(2, handed())
    await until(lambda: len(taken) == 1)
    two.close()
    assert not one.hand(2, handed())
    again = Handover(tmp_path, 2, taken.append)
    await again.open()
    assert one.hand(2, handed())
    await until(lambda: len(taken) == 2)
    again.close()
    one.close()


async def test_what_a_killed_process_left_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(handover_socket(tmp_path, 1)))
    taken: list[Handed] = []
    one, two = Handover(tmp_path, 1, taken.append), Handover(tmp_path, 2, taken.append)
    assert not two.hand(1, handed())
    await one.open()
    assert two.hand(1, handed())
    await until(lambda: len(taken) == 1)
    one.close()
    two.close()


async def test_a_sibling_that_does_not_read_costs_nothing_but_a_no(tmp_path: Path) -> None:
    one, two = Handover(tmp_path, 1, lambda _: None), Handover(tmp_path, 2, lambda _: None)
    await two.open()
    loop = asyncio.get_running_loop()
    assert two._listener is not None
    loop.remove_reader(two._listener)  # stopped, as by SIGSTOP
    sent = 0
    while one.hand(2, handed(bytes(1000))):
        sent += 1
        assert sent < 10_000
    assert sent > 50
    one.close()
    two.close()


async def test_what_is_no_message_is_counted_and_the_next_one_is_heard(tmp_path: Path) -> None:
    taken: list[Handed] = []
    dropped: list[str] = []
    one = Handover(tmp_path, 1, taken.append, dropped.append)
    await one.open()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(str(handover_socket(tmp_path, 1)))
        sock.send(b"\xc1")
        sock.send(encode(handed()).replace(b"known", b"knife"))
        sock.send(encode(handed()))
        await until(lambda: len(taken) == 1)
    assert dropped == ["handover_damaged"] * 2
    one.close()

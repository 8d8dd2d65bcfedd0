"""What moving audio costs by itself: a bare uvloop with the datagrams and messages of calls, and no work.

A yardstick for `load_media`: the ratio of the two says how much of a gateway's time is its own, anywhere.
"""

from __future__ import annotations

import asyncio
import multiprocessing as mp
import os
import select
import socket
import time
from multiprocessing.connection import Connection
from typing import Final

import uvloop

FRAME: Final = 0.02
PACKET, MESSAGE = bytes(172), bytes(330)
"""An RTP packet of 20 ms of G.711, and a message of a media stream with it."""

SETTLE: Final = 1.0


class _Reader(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None: ...


def bare(kind: str, calls: int, seconds: float) -> float:
    """Percent of a core. kind: as of `load_media`; `voicemail` has no agents, `relay` has no messages."""
    ours, theirs = mp.Pipe()
    process = mp.get_context("spawn").Process(target=_serve, args=(theirs, kind, calls, seconds))
    process.start()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(process.pid or 0, {cores[0]})
    ends = [
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(calls * (2 if kind == "relay" else 1))
    ]
    for end in ends:
        end.bind(("127.0.0.1", 0))
        end.setblocking(False)
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    ours.send((listener.getsockname(), [end.getsockname() for end in ends]))
    for end, target in zip(ends, ours.recv(), strict=True):
        end.connect(target)
    agents = [listener.accept()[0] for _ in range(calls)] if kind == "stream" else []
    _talk([*((end, PACKET) for end in ends), *((agent, MESSAGE) for agent in agents)], SETTLE + seconds + 0.5)
    busy: float = ours.recv()
    process.join()
    for each in (*ends, *agents, listener):
        each.close()
    return busy


def _talk(speakers: list[tuple[socket.socket, bytes]], seconds: float) -> None:
    poll, sockets = select.epoll(), {end.fileno(): end for end, _ in speakers}
    for end, _ in speakers:
        end.setblocking(False)
        poll.register(end.fileno(), select.EPOLLIN)
    began, parts = time.monotonic(), len(speakers)
    for number in range(round(seconds / FRAME) * parts):
        due = began + number * FRAME / parts
        while (wait := due - time.monotonic()) > 0.0003:
            for descriptor, _ in poll.poll(wait):
                try:
                    sockets[descriptor].recv(65536)
                except OSError:
                    continue
        end, said = speakers[number % parts]
        try:
            end.send(said)
        except OSError:
            continue
    poll.close()


def _serve(pipe: Connection, kind: str, calls: int, seconds: float) -> None:
    pipe.send(uvloop.run(_busy(pipe, kind, calls, seconds)))


async def _busy(pipe: Connection, kind: str, calls: int, seconds: float) -> float:
    loop = asyncio.get_running_loop()
    agents, peers = pipe.recv()
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in peers]
    poll = select.epoll()
    by_descriptor = {}
    for number, each in enumerate(sockets):
        each.bind(("127.0.0.1", 0))
        each.setblocking(False)
        poll.register(each.fileno(), select.EPOLLIN)
        by_descriptor[each.fileno()] = each, number

    def read() -> None:
        for descriptor, _ in poll.poll(0):
            each, number = by_descriptor[descriptor]
            packet, _ = each.recvfrom(2048)
            if kind == "relay":
                other = number + calls if number < calls else number - calls
                sockets[other].sendto(packet, peers[other])

    loop.add_reader(poll.fileno(), read)
    pipe.send([each.getsockname() for each in sockets])
    streams = []
    for _ in range(calls if kind == "stream" else 0):
        _, protocol = await loop.create_connection(_Reader, *agents)
        streams.append(protocol.transport)
    began = loop.time()

    def beat(number: int, turn: int) -> None:
        sockets[number].sendto(PACKET, peers[number])
        if streams and not streams[number].is_closing():
            streams[number].write(MESSAGE)
        loop.call_at(began + number * FRAME / calls + turn * FRAME, beat, number, turn + 1)

    if kind != "relay":
        for number in range(calls):
            loop.call_at(began + number * FRAME / calls, beat, number, 1)
    await asyncio.sleep(SETTLE)
    used, since = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    busy = (time.process_time() - used) / (time.monotonic() - since) * 100
    loop.remove_reader(poll.fileno())
    return busy

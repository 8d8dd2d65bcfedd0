"""What moving audio costs by itself: a bare uvloop with the datagrams and messages of calls, and no work.

A yardstick for `load_media`: the ratio of the two says how much of a gateway's time is its own, anywhere.
"""

from __future__ import annotations

import asyncio
import multiprocessing as mp
import os
import select
import socket
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import uvloop

FRAME: Final = 0.02
PACKET, MESSAGE = bytes(172), bytes(330)
"""An RTP packet of 20 ms of G.711, and a message of a media stream with it."""

SETTLE: Final = 1.0

LATE: Final = 0.005
"""Seconds behind its time after which a packet counts as late."""

SO_TIMESTAMPNS: Final = 35


@dataclass(frozen=True, slots=True)
class Bare:
    """busy: percent of a core; late: percent of the packets."""

    busy: float
    late: float


def pin(pid: int, core: int, alone: bool) -> None:
    """A process and its threads to one core.

    alone: before everybody who has no real-time priority, and its first thread, which has the event loop,
    before the others: of equals, one that works in a thread would be let finish.
    """
    for task in (int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()):
        os.sched_setaffinity(task, {core})
        if alone:
            os.sched_setscheduler(task, os.SCHED_RR, os.sched_param(2 if task == pid else 1))


def release(cores: Iterable[int]) -> None:
    """This process to all cores again, and as urgent as anybody."""
    os.sched_setaffinity(0, cores)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def arrived(ancillary: list[tuple[int, int, bytes]]) -> float:
    """When the kernel got a packet: seconds since 1970."""
    seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
    return float(seconds + nanoseconds / 1e9)


class _End:
    """One end that hears packets; none is lost on the way, so the nth heard is the nth sent."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.bind(("127.0.0.1", 0))
        self.sent: list[float] = []
        self.heard: list[float] = []

    def say(self) -> None:
        self.sent.append(time.time())
        self.socket.send(PACKET)

    def listen(self) -> None:
        _, ancillary, _, _ = self.socket.recvmsg(2048, 64)
        self.heard.append(arrived(ancillary))

    def behind(self, speaker: _End | None) -> list[float]:
        """Seconds of each packet behind its time, after the first second.

        speaker: who said what is heard here; None: whoever hears it has a beat of its own.
        """
        due = speaker.sent if speaker is not None else [FRAME * number for number in range(len(self.heard))]
        offsets = [at - when for at, when in zip(self.heard, due, strict=False)][round(SETTLE / FRAME) :]
        return offsets if speaker is not None else [each - min(offsets) for each in offsets]


class _Reader(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None: ...


def bare(kind: str, calls: int, seconds: float, *, alone: bool = False) -> Bare:
    """Run it. kind: as of `load_media`; `voicemail` has no agents, `relay` has no messages."""
    ours, theirs = mp.Pipe()
    process = mp.get_context("spawn").Process(target=_serve, args=(theirs, kind, calls, seconds))
    process.start()
    cores = sorted(os.sched_getaffinity(0))
    assert process.pid is not None
    pin(process.pid, cores[0], alone)
    pin(os.getpid(), cores[-1], alone)
    ends = [_End() for _ in range(calls * (2 if kind == "relay" else 1))]
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    ours.send((listener.getsockname(), [end.socket.getsockname() for end in ends]))
    for end, target in zip(ends, ours.recv(), strict=True):
        end.socket.connect(target)
    agents = [listener.accept()[0] for _ in range(calls)] if kind == "stream" else []
    _talk([*ends, *agents], SETTLE + seconds + 0.5)
    busy: float = ours.recv()
    process.join()
    release(cores)
    others = [*ends[calls:], *ends[:calls]] if kind == "relay" else [None] * calls
    behind = [each for end, other in zip(ends, others, strict=True) for each in end.behind(other)]
    for each in (*(end.socket for end in ends), *agents, listener):
        each.close()
    return Bare(busy, sum(each > LATE for each in behind) / max(len(behind), 1) * 100)


def _talk(speakers: list[_End | socket.socket], seconds: float) -> None:
    poll, sockets = select.epoll(), {}
    for speaker in speakers:
        sock = speaker.socket if isinstance(speaker, _End) else speaker
        sock.setblocking(False)
        poll.register(sock.fileno(), select.EPOLLIN)
        sockets[sock.fileno()] = speaker
    began, parts = time.monotonic(), len(speakers)
    for number in range(round(seconds / FRAME) * parts):
        due = began + number * FRAME / parts
        while (wait := due - time.monotonic()) > 0.0003:
            for descriptor, _ in poll.poll(wait):
                with suppress(OSError):
                    _hear(sockets[descriptor])
        speaker = speakers[number % parts]
        with suppress(OSError):
            if isinstance(speaker, _End):
                speaker.say()
            else:
                speaker.send(MESSAGE)
    poll.close()


def _hear(speaker: _End | socket.socket) -> None:
    if isinstance(speaker, _End):
        speaker.listen()
    else:
        speaker.recv(65536)


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

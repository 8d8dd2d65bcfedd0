"""How much CPU the in-process relay needs: concurrent calls, 50 packets a second each way, over loopback.

    python loadtests/bench_relay.py [--calls 50 200 400] [--seconds 5] [--loop uvloop|asyncio]

The relay runs in a process of its own, so its CPU time is the relay's alone (system time included); another
process plays all callers and agents, sends every packet at its own moment of the 20 ms, and counts what
comes back on the other side. "late" is the 99th percentile of the way through relay and loopback, the
generator's own lateness included.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing as mp
import select
import socket
import struct
import time
from multiprocessing.connection import Connection

import uvloop

from gateway.media.port_pool import PortPool
from gateway.media.relay import Relay

FRAME_SECONDS = 0.02
PAYLOAD = bytes(152)
ROW = "{:6} {:10.0f} {:7.1f} {:10.2f} {:11.3f} {:6} {:6} {:10.2f} {:8.2f}"
SENT_AT = struct.Struct("!d")
HEADER = struct.Struct("!BBHII")


def relay_process(pipe: Connection, loop: str) -> None:
    """Open a relay for each pair of addresses received, then report CPU seconds and counters when told to
    stop."""

    async def serve() -> None:
        pool = PortPool("127.0.0.1", linger=0)
        relays = []
        for caller, agent in pipe.recv():
            relay = Relay(pool.open(), pool.open())
            relay.a.set_remote(*caller)
            relay.b.set_remote(*agent)
            relays.append(relay)
        pipe.send([(relay.a.address, relay.b.address) for relay in relays])
        stop = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)
        begun = time.process_time()
        await stop.wait()
        used = time.process_time() - begun
        legs = [leg.stats for relay in relays for leg in (relay.a, relay.b)]
        lost, jitter = sum(leg.lost for leg in legs), max(leg.jitter for leg in legs)
        pipe.send((used, sum(leg.packets_in for leg in legs), lost, jitter))
        pool.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        runner.run(serve())


class Peers:
    """Both ends of every call: sockets in pairs, each sending to its own side of the relay."""

    def __init__(self, calls: int) -> None:
        self.ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2 * calls)]
        self.poll = select.epoll()
        for end in self.ends:
            end.bind(("127.0.0.1", 0))
            end.setblocking(False)
            self.poll.register(end.fileno(), select.EPOLLIN)
        self.by_number = {end.fileno(): end for end in self.ends}
        self.sent = self.heard = 0
        self.delays: list[float] = []

    def addresses(self) -> list[tuple[tuple[str, int], tuple[str, int]]]:
        names = [end.getsockname() for end in self.ends]
        return list(zip(names[::2], names[1::2], strict=True))

    def talk(self, targets: list[tuple[str, int]], seconds: float) -> None:
        """Send `seconds` of audio on every end, evenly spread over each 20 ms, reading all the while."""
        count = len(self.ends)
        start = time.monotonic()
        total = round(seconds / FRAME_SECONDS) * count
        for number in range(total):
            due = start + number * FRAME_SECONDS / count
            while (wait := due - time.monotonic()) > 0.0005:
                self.listen(wait)
            frame, end = divmod(number, count)
            header = HEADER.pack(0x80, 0, frame & 0xFFFF, frame * 160, end)
            self.ends[end].sendto(header + SENT_AT.pack(time.monotonic()) + PAYLOAD, targets[end])
            self.sent += 1
        self.listen(0.3)

    def listen(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (wait := deadline - time.monotonic()) > 0:
            for number, _ in self.poll.poll(wait):
                packet = self.by_number[number].recv(2048)
                self.heard += 1
                if self.heard % 16 == 0:
                    self.delays.append(time.monotonic() - SENT_AT.unpack_from(packet, 12)[0])


def measure(calls: int, seconds: float, loop: str) -> str:
    """One row of the table."""
    ours, theirs = mp.Pipe()
    process = mp.get_context("spawn").Process(target=relay_process, args=(theirs, loop))
    process.start()
    peers = Peers(calls)
    ours.send(peers.addresses())
    targets = [leg for pair in ours.recv() for leg in pair]
    begun = time.monotonic()
    peers.talk(targets, seconds)
    elapsed = time.monotonic() - begun
    ours.send(None)
    used, packets, lost, jitter = ours.recv()
    process.join()
    peers.delays.sort()
    late = peers.delays[int(len(peers.delays) * 0.99)] * 1000
    row = (calls, packets / elapsed, used / elapsed * 100, used / packets * 1e6, used / elapsed / calls * 100)
    losses = (peers.sent - peers.heard, lost, jitter * 1000, late)
    return ROW.format(*row, *losses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, nargs="+", default=[50, 200, 400])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    options = parser.parse_args()
    print(f"{options.loop}, {options.seconds:g} s of audio both ways")
    print(" calls  packets/s   CPU %  µs/packet  CPU %/call   lost   gaps jitter/ms  late/ms")
    for calls in options.calls:
        print(measure(calls, options.seconds, options.loop), flush=True)


if __name__ == "__main__":
    main()

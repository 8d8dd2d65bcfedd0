"""What SRTP costs: a relayed packet in the clear, and with each suite on both legs.

    python loadtests/bench_srtp.py [--packets 20000]

Packets of a call in G.711 (160 bytes each 20 ms) go through a relay of two real ports over loopback, in
bursts that fit into a socket's buffer. Counted is the CPU time of the relay's own work, system calls
included: reading a packet at one port, opening it, sealing it with the other leg's key, sending it.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import socket
import statistics
import time

from gateway.media.port_pool import PortPool
from gateway.media.relay import Relay
from gateway.media.rtp import pack
from gateway.media.srtp import PROFILES, SrtpSeal
from gateway.sip.sdes import SUITES

BURST = 100
"""Packets sent before they are relayed: 20 kB, a tenth of a socket's buffer."""

ROUNDS = 5
"""Of which the median counts: the machine is shared."""

Seals = tuple[SrtpSeal, SrtpSeal]


def seals(suite: str) -> Seals:
    """A port's, and its peer's."""
    ours, theirs = (secrets.token_bytes(SUITES[suite]) for _ in range(2))
    port, peer = SrtpSeal(), SrtpSeal()
    for seal, sends, receives in ((port, ours, theirs), (peer, theirs, ours)):
        seal.send_with(suite, sends)
        seal.receive_with(suite, receives)
    return port, peer


async def cost(suite: str | None, packets: int) -> float:
    """CPU seconds a packet."""
    pool = PortPool("127.0.0.1", linger=0)
    caller, agent = pool.open(), pool.open()
    peer: SrtpSeal | None = None
    if suite is not None:
        for port in (caller, agent):
            seal, peer_of_port = seals(suite)
            port.secure(seal)
            peer = peer or peer_of_port
    Relay(caller, agent)
    with socket.socket(type=socket.SOCK_DGRAM) as talker, socket.socket(type=socket.SOCK_DGRAM) as listener:
        for end in (talker, listener):
            end.bind(("127.0.0.1", 0))
            end.setblocking(False)
        caller.set_remote(*talker.getsockname())
        agent.set_remote(*listener.getsockname())
        used, number = 0.0, 0
        for _ in range(packets // BURST):
            for _ in range(BURST):
                packet = pack(0, number & 0xFFFF, 160 * number & 0xFFFFFFFF, 1, bytes(160))
                talker.sendto(packet if peer is None else peer.seal(packet), caller.address)
                number += 1
            begun = time.process_time()
            for _ in range(BURST):
                caller._read_rtp()
            used += time.process_time() - begun
            for _ in range(BURST):
                listener.recv(2048)
    assert caller.stats.packets_in == number, caller.stats
    pool.close()
    return used / number


async def main(packets: int) -> None:
    clear = 0.0
    for suite in (None, *PROFILES):
        seconds = statistics.median([await cost(suite, packets) for _ in range(ROUNDS)])
        clear = clear or seconds
        name = suite or "in the clear"
        print(f"{name:26} {seconds * 1e6:6.1f} µs a packet   ×{seconds / clear:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=20_000)
    asyncio.run(main(parser.parse_args().packets))

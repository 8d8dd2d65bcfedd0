"""What a call costs in one process, and in two workers that hand each other what is theirs.

    .venv/bin/python loadtests/bench_workers.py                  # 100 calls/s for 10 s, rounds alternating
    .venv/bin/python loadtests/bench_workers.py --rate 300 --seconds 20 --rounds 3

Set-up: as `load_signalling.py`, SIPp sending every call from one port, so that half of what two workers
read is their sibling's. On a machine whose cores SIPp shares, calls a second say little; CPU a call, and how
evenly it falls on the workers, say how many a machine with cores of its own takes. First, in one process,
what steering and handing over a message take.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gateway.sip.flow import Flow
from gateway.workers.handover import decode, encode
from gateway.workers.marks import call_id_of, slot_of
from gateway.workers.steering import Handed, Purpose
from loadtests import process_meter, sipp_load
from loadtests.systems import voice_gateway
from tests.e2e.sipp import free_port

NUMBERS = 100
TALK_MS = 500
REPETITIONS = 20_000
INVITE = (
    b"INVITE sip:+14155550100@198.51.100.1:5060 SIP/2.0\r\n"
    b"Record-Route: <sip:192.0.2.1:5060;lr>\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKpeer\r\n"
    b"From: <sip:+14155550142@example.com>;tag=theirs\r\nTo: <sip:+14155550100@voice.example.com>\r\n"
    b"Call-ID: 0123456789abcdef0123456789abcdef@192.0.2.1\r\nCSeq: 1 INVITE\r\n"
    + b"X-Filler: " + bytes(500).replace(b"\0", b"x") + b"\r\n\r\n" + bytes(300).replace(b"\0", b"v")
)  # fmt: skip


def main(options: argparse.Namespace) -> int:
    """Run it."""
    _parts()
    for number in range(options.rounds):
        for workers in (1, 2):
            sys.stdout.write(f"round {number + 1}, {_round(workers, options.rate, options.seconds)}\n")
    return 0


def _round(workers: int, rate: int, seconds: int) -> str:
    with tempfile.TemporaryDirectory() as text, contextlib.ExitStack() as stack:
        directory = Path(text)
        agents = [sipp_load.agent(directory) for _ in range(2)]
        for agent in agents:
            stack.callback(agent.stop)
        numbers = [f"+1573969{number:04d}" for number in range(NUMBERS)]
        rows = [(number, agents[place % len(agents)].agent_uri) for place, number in enumerate(numbers)]
        own = {"count": workers, "port": free_port("127.0.0.1"), "tls_port": 19_000}
        system = voice_gateway(directory, stack, rows, workers=own)
        listed = directory / "numbers.csv"
        listed.write_text("SEQUENTIAL\n" + "\n".join(numbers) + "\n")
        processes = process_meter.children(system.main, skip="redis-server") or [system.main]
        before = {pid: process_meter.cpu_ms(pid) for pid in processes}
        idle = system.cpu_ms
        caller = sipp_load.caller(
            directory, system.sip, listed, rate=rate, calls=rate * seconds, talk_ms=TALK_MS
        )
        outcome = caller.wait(seconds + 20)
        cpu = (system.cpu_ms - idle) / max(1, outcome.succeeded)
        shares = sorted(process_meter.cpu_ms(pid) - before[pid] for pid in processes)[-workers:]
        handed = system.metric("gateway_sip_handed_messages_total", result="taken")
        return (
            f"{workers} worker(s): {outcome.succeeded} calls, {outcome.failed} failed,"
            f" {outcome.retransmissions} sent again, {cpu:.2f} ms of CPU a call;"
            f" by process {' / '.join(f'{share / 1000:.1f} s' for share in shares)};"
            f" {handed / max(1, outcome.succeeded):.1f} messages a call handed over"
        )


def _parts() -> None:
    handed = Handed(Purpose.TAKE, 2, (), Flow("udp", "192.0.2.1", 5060, 5), INVITE)
    frame = encode(handed)
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def through() -> None:
        one.send(encode(handed))
        decode(two.recv(70_000))

    for name, work in (
        ("looking for a mark of ours, and for the Call-ID", lambda: (slot_of(INVITE), call_id_of(INVITE))),
        ("writing and reading what is handed over", lambda: decode(encode(handed))),
        ("the same through the socket", through),
    ):
        sys.stdout.write(f"{name}: {_micros(work):.1f} µs ({len(frame)} bytes)\n")
    one.close()
    two.close()


def _micros(work: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(REPETITIONS):
        work()
    return (time.process_time() - began) / REPETITIONS * 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=int, default=100, help="calls a second")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    raise SystemExit(main(parser.parse_args()))

"""Calls with audio through a real gateway on one core: over WebSocket, relayed over SIP, to voicemail.

    python -m loadtests.load_media                      the whole table, a kind ending where calls are late
    python -m loadtests.load_media stream --calls 200 [--seconds 20] [--chunk 160]
    python -m loadtests.load_media relay --calls 300
    python -m loadtests.load_media rtpengine --calls 300
    python -m loadtests.load_media voicemail --calls 500

The gateway (and rtpengine) is pinned to the first core, this generator to the last one. Callers and agents
are one process, one epoll and one clock: every caller sends a packet each 20 ms at its own moment of it,
every agent a chunk. It parses as little as it can, so as not to be the bottleneck; how late it was itself is
the column "own late". "late" is the share of packets from the gateway that reached the caller more than 5 ms
after their beat, the beat being the stream's own timestamps from its earliest packet on, and the time of
arrival the kernel's. "times bare" is the CPU in units of a bare loop that moves the same datagrams and
messages and does nothing else (`loadtests/bare_loop.py`), measured just before on the same core.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import select
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.bare_loop import bare
from loadtests.process_meter import cpu_ms, resident_kib
from tests.e2e.gateway_process import GatewayProcess
from tests.rtpengine import RtpEngineDaemon

ROOT: Final = Path(__file__).parent.parent
FRAME: Final = 0.02
LATE: Final = 0.005
SETTLE: Final = 3.0
"""Seconds of audio before anything is counted."""

SO_TIMESTAMPNS: Final = 35
HEADER: Final = struct.Struct("!BBHII")
BARS: Final = {"stream": 200, "relay": 300, "rtpengine": 300, "voicemail": 500}
TABLE: Final = {
    "stream": (50, 100, 200),
    "relay": (100, 300),
    "rtpengine": (100, 300),
    "voicemail": (100, 250, 500),
}
TOO_LATE: Final = 5.0
"""Percent of packets beyond which a kind's larger numbers are not tried."""

NUMBER: Final = "+14155550100"
SOUND: Final = bytes(range(0x40, 0xE0))


class Leg:
    """One end that hears RTP: a caller, or a SIP agent."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]
        self.target: tuple[str, int] | None = None
        self.sequence = 0
        self.arrivals: list[tuple[float, int]] = []

    def speak(self) -> None:
        if self.target is not None:
            self.sequence += 1
            head = HEADER.pack(0x80, 0, self.sequence & 0xFFFF, self.sequence * 160, self.port)
            self.socket.sendto(head + SOUND, self.target)

    def listen(self, counting: bool) -> None:
        while True:
            try:
                packet, ancillary, _, _ = self.socket.recvmsg(2048, 64)
            except BlockingIOError:
                return
            if counting and ancillary and len(packet) > 12:
                seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
                self.arrivals.append((seconds + nanoseconds / 1e9, HEADER.unpack_from(packet)[3]))

    def late(self) -> tuple[int, int, int]:
        """Packets heard, those that were late, and those that are missing between the first and the last."""
        if not self.arrivals:
            return 0, 0, 0
        first = self.arrivals[0][1]
        offsets = [at - ((stamp - first) & 0xFFFFFFFF) / 8000 for at, stamp in self.arrivals]
        beat = min(offsets)
        span = ((self.arrivals[-1][1] - first) & 0xFFFFFFFF) // 160 + 1
        return len(offsets), sum(1 for each in offsets if each - beat > LATE), max(0, span - len(offsets))


class Streams:
    """Agents over WebSocket: one listening socket; each connection is answered and then talks."""

    def __init__(self, chunk: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        payload = base64.b64encode((SOUND * (chunk // 160 + 1))[:chunk]).decode()
        message = json.dumps({"event": "media", "streamSid": "MZ", "media": {"payload": payload}}).encode()
        size = (
            struct.pack("!BBH", 0x81, 126, len(message))
            if len(message) > 125
            else bytes([0x81, len(message)])
        )
        self.said = size + message
        self.open: list[socket.socket] = []
        self.heard = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.listener.getsockname()[1]}/ws"

    def accept(self) -> socket.socket | None:
        try:
            connection, _ = self.listener.accept()
        except BlockingIOError:
            return None
        request = b""
        while b"\r\n\r\n" not in request:
            part = connection.recv(4096)
            if not part:  # a probe: it only looks whether anybody listens
                connection.close()
                return None
            request += part
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
        assert key is not None
        accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self.open.append(connection)
        return connection


class Generator:
    """Callers and agents."""

    def __init__(self, kind: str, chunk: int) -> None:
        self.streams = Streams(chunk) if kind == "stream" else None
        self.agent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.agent.bind(("127.0.0.1", 0))
        self.signalling = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.signalling.bind(("127.0.0.1", 0))
        self.signalling.settimeout(5)
        self.callers: list[Leg] = []
        self.agents: list[Leg] = []
        self.goodbyes: list[tuple[bytes, tuple[str, int]]] = []
        self.poll = select.epoll()
        self.by_number: dict[int, Leg | socket.socket] = {}
        self.counting = False
        self.own_late = 0.0

    @property
    def url(self) -> str:
        if self.streams is not None:
            return self.streams.url
        return f"sip:bot@127.0.0.1:{self.agent.getsockname()[1]}"

    def call(self, sip: tuple[str, int], number: int) -> None:
        """Place one call, by hand, and wait for its answer."""
        leg = Leg()
        host, port = self.signalling.getsockname()
        call_id = f"load-{number}-{time.time_ns()}"
        common = (
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{{branch}};rport\r\n"
            f"From: <sip:+14155550123@{host}>;tag=t{number}\r\nCall-ID: {call_id}\r\nMax-Forwards: 70\r\n"
        )
        body = sdp(leg.port)
        invite = (
            f"INVITE sip:{NUMBER}@{sip[0]} SIP/2.0\r\n{common.format(branch=call_id)}"
            f"To: <sip:{NUMBER}@{sip[0]}>\r\n"
            f"CSeq: 1 INVITE\r\nContact: <sip:load@{host}:{port}>\r\nContent-Type: application/sdp\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self.signalling.sendto(invite, sip)
        answer = b""
        while not answer.startswith(b"SIP/2.0 200"):
            self._agents_answer()
            ready, _, _ = select.select([self.signalling, self.agent, *self._listeners()], [], [], 5)
            assert ready, f"call {number} got no answer"
            if self.signalling in ready:
                answer = self.signalling.recv(65535)
                assert answer[:9] not in {b"SIP/2.0 4", b"SIP/2.0 5"}, answer[:200]
        to = re.search(rb"(?im)^To: *(.*?)\r$", answer)
        contact = re.search(rb"(?im)^Contact: *<(.*?)>", answer)
        media = re.search(rb"m=audio (\d+)", answer)
        assert to and contact and media
        leg.target = ("127.0.0.1", int(media[1]))
        for method, branch, sequence in (("ACK", "a", 1), ("BYE", "b", 2)):
            text = (
                f"{method} {contact[1].decode()} SIP/2.0\r\n{common.format(branch=call_id + branch)}"
                f"To: {to[1].decode()}\r\nCSeq: {sequence} {method}\r\nContent-Length: 0\r\n\r\n"
            )
            if method == "ACK":
                self.signalling.sendto(text.encode(), sip)
            else:
                self.goodbyes.append((text.encode(), sip))
        self.callers.append(leg)
        self._watch(leg)
        self._agents_answer()
        self._listen(0.002)  # those who were called before go on

    def _listeners(self) -> list[socket.socket]:
        return [self.streams.listener] if self.streams is not None else []

    def _agents_answer(self) -> None:
        if self.streams is not None:
            while (connection := self.streams.accept()) is not None:
                self.by_number[connection.fileno()] = connection
                self.poll.register(connection.fileno(), select.EPOLLIN)
            return
        self.agent.setblocking(False)
        while True:
            try:
                request, source = self.agent.recvfrom(65535)
            except BlockingIOError:
                return
            self._answer(request, source)

    def _answer(self, request: bytes, source: tuple[str, int]) -> None:
        """A SIP agent that takes every call."""
        head, _, offer = request.partition(b"\r\n\r\n")
        if head.startswith(b"ACK"):
            return
        kept = [
            line + (b";tag=agent" if line[:3].lower() == b"to:" and b"tag=" not in line else b"")
            for line in head.split(b"\r\n")[1:]
            if line.split(b":")[0].lower() in {b"via", b"from", b"to", b"call-id", b"cseq", b"record-route"}
        ]
        body = b""
        if head.startswith(b"INVITE"):
            leg = Leg()
            wanted = re.search(rb"m=audio (\d+)", offer)
            assert wanted is not None
            leg.target = ("127.0.0.1", int(wanted[1]))
            self.agents.append(leg)
            self._watch(leg)
            body = sdp(leg.port)
            kept.append(b"Contact: <sip:bot@127.0.0.1:%d>" % self.agent.getsockname()[1])
            kept.append(b"Content-Type: application/sdp")
        answer = [b"SIP/2.0 200 OK", *kept, b"Content-Length: %d" % len(body), b"", body]
        self.agent.sendto(b"\r\n".join(answer), source)

    def _watch(self, leg: Leg) -> None:
        self.by_number[leg.socket.fileno()] = leg
        self.poll.register(leg.socket.fileno(), select.EPOLLIN)

    def talk(self, seconds: float) -> None:
        """Everybody speaks every 20 ms, spread evenly over them, and listens all the while."""
        speakers = [*self.callers, *self.agents]
        sockets = self.streams.open if self.streams is not None else []
        parts = len(speakers) + len(sockets)
        began = time.monotonic()
        for number in range(round(seconds / FRAME) * parts):
            due = began + number * FRAME / parts
            while (wait := due - time.monotonic()) > 0.0003:
                self._listen(wait)
            if self.counting:
                self.own_late = max(self.own_late, -wait)
            index = number % parts
            if index < len(speakers):
                speakers[index].speak()
            else:
                self._say(sockets[index - len(speakers)])

    def _say(self, connection: socket.socket) -> None:
        assert self.streams is not None
        try:
            sent = connection.send(self.streams.said)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return
        assert sent == len(self.streams.said), "the gateway does not read what its agents say"

    def _listen(self, wait: float) -> None:
        for number, _ in self.poll.poll(wait):
            end = self.by_number[number]
            if isinstance(end, Leg):
                end.listen(self.counting)
            else:
                assert self.streams is not None
                try:
                    heard = len(end.recv(262_144))
                except (BlockingIOError, ConnectionResetError):
                    continue
                self.streams.heard += heard
                if not heard:  # the gateway has said goodbye
                    self.poll.unregister(number)

    def hang_up(self) -> None:
        for goodbye, sip in self.goodbyes:
            self.signalling.sendto(goodbye, sip)
            time.sleep(0.002)


def sdp(port: int) -> bytes:
    return (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
        "a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    ).encode()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Load:
    """What calls cost a gateway. busy: percent of its core; memory: kB a call."""

    busy: float
    memory: float


def under_load(
    directory: Path,
    numbers: Path,
    generator: Generator,
    calls: int,
    seconds: float,
    *,
    farewell: float = 0.5,
    beside: Sequence[int] = (),
    **sections: dict[str, object],
) -> Load:
    """Run a gateway on the first core under that many calls, the generator on the last one.

    numbers: the numbers file. farewell: seconds of talk after everybody has hung up. beside: further
    processes that share the core and are counted with it. sections: further settings of the gateway.
    """
    sip, http = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
    settings: dict[str, dict[str, object]] = {
        "sip": {"listen": [f"{sip[0]}:{sip[1]}"], "agent_listen": ["127.0.0.1:0"]},
        "web": {"listen": f"{http[0]}:{http[1]}"},
        "data": {"dir": str(directory / "data")},
        "routing": {"numbers_file": str(numbers)},
        "admission": {"carriers_files": [str(ROOT / "configs" / "carriers.dev.toml")]},
        "media": {"bind": "127.0.0.1", "port_low": 16384, "port_high": 32766},
        "logs": {"level": "warning"},
        **sections,
    }
    cores = sorted(os.sched_getaffinity(0))
    with GatewayProcess(directory, settings, sip=sip, http=http) as gateway:
        pinned = [gateway.pid, *beside]
        for pid in pinned:
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {cores[0]})
        os.sched_setaffinity(0, {cores[-1]})
        empty = resident_kib(gateway.pid)
        for number in range(calls):
            generator.call(sip, number)
        generator.talk(SETTLE)
        generator.counting = True
        cpu, began = sum(map(cpu_ms, pinned)), time.monotonic()
        generator.talk(seconds)
        busy = (sum(map(cpu_ms, pinned)) - cpu) / (time.monotonic() - began) / 10
        memory = (resident_kib(gateway.pid) - empty) / calls
        generator.counting = False
        generator.hang_up()
        generator.talk(farewell)
    os.sched_setaffinity(0, cores)
    return Load(busy, memory)


@dataclass(frozen=True, slots=True)
class Row:
    """late: percent; memory: kB a call."""

    late: float
    memory: float

    @property
    def passed(self) -> bool:
        return self.late < 0.1 and self.memory < 150


def measure(kind: str, calls: int, seconds: float, chunk: int) -> Row:
    """One row, printed."""
    yardstick = bare("relay" if kind == "rtpengine" else kind, calls, min(seconds, 5.0))
    generator = Generator(kind, chunk)
    with tempfile.TemporaryDirectory(prefix="load-media-") as name, ExitStack() as stack:
        directory = Path(name)
        numbers = directory / "numbers.toml"
        routing = '[numbers.inbound_routing]\nagent_id = "agt_load"\n'
        url = generator.url
        if kind == "voicemail":  # nobody listens at the port of Discard: at once at voicemail
            url = "sip:nobody@127.0.0.1:9"
            routing += 'voicemail_message = "Speak."\n'
        agents = f'[[agents]]\nid = "agt_load"\nname = "Load"\nendpoints = [{{ url = "{url}" }}]\n'
        numbers.write_text(f'{agents}[[numbers]]\nphone_number = "{NUMBER}"\n{routing}')
        sections: dict[str, dict[str, object]] = {"voicemail": {"max_seconds": 600}}
        beside = []
        if kind == "rtpengine":
            daemon = stack.enter_context(RtpEngineDaemon(directory))
            sections["media"] = {
                "bind": "127.0.0.1",
                "port_low": 16384,
                "port_high": 32766,
                "engine": "rtpengine",
                "rtpengine": [daemon.name],
            }
            beside = [daemon.pid]
        load = under_load(directory, numbers, generator, calls, seconds, beside=beside, **sections)
    ends = [*generator.callers, *generator.agents]
    heard, late, lost = (sum(values) for values in zip(*(end.late() for end in ends), strict=True))
    for end in ends:
        end.socket.close()
    expected = len(ends) * seconds / FRAME
    share = late / max(heard, 1) * 100
    busy, memory = load.busy, load.memory
    print(
        f"| {kind} | {calls} | {busy:.1f} % | {busy / calls / 50 * 1e4:.0f} µs | {busy / yardstick:.2f}"
        f" | {share:.3f} % | {lost} | {100 * (1 - heard / expected):.2f} % | {memory:.0f} kB"
        f" | {generator.own_late * 1000:.1f} ms |",
        flush=True,
    )
    return Row(share, memory)


def main() -> int:
    parser = argparse.ArgumentParser(description="Calls with audio through a gateway on one core.")
    parser.add_argument("kind", nargs="?", choices=sorted(BARS), help="By default all of them, as a table.")
    parser.add_argument("--calls", type=int, nargs="+")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--chunk", type=int, default=160, help="Bytes a message of a WebSocket agent.")
    options = parser.parse_args()
    print(
        "| calls over | at once | CPU of a core | CPU a call and frame | times bare | late > 5 ms | lost"
        " | not heard | memory a call | own late |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    kinds = {options.kind: options.calls or [BARS[options.kind]]} if options.kind else TABLE
    passed = True
    for kind, numbers in kinds.items():
        for calls in numbers:
            row = measure(kind, calls, options.seconds, options.chunk)
            passed = passed and row.passed
            if row.late > TOO_LATE:
                break
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

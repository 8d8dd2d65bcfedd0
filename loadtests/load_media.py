"""Calls with audio through a real gateway on one core: over WebSocket, relayed over SIP, to voicemail.

    python -m loadtests.load_media                      the whole table, a kind ending where calls are late
    python -m loadtests.load_media stream --calls 200 [--seconds 20] [--chunk 160]
    python -m loadtests.load_media relay --calls 300
    python -m loadtests.load_media rtpengine --calls 300
    python -m loadtests.load_media voicemail --calls 500
    python -m loadtests.load_media stream --calls 200 --new-calls 50    how late the event loop is, besides
    … --compiled                                        the build in .venv-compiled
    … --alone                                           real-time priority, where others use the machine too

The gateway (and rtpengine) is pinned to the first core, this generator to the last one. Callers and agents
are one process, one epoll and one clock: every caller sends a packet each 20 ms at its own moment of it,
every agent a chunk. It parses as little as it can, so as not to be the bottleneck.

"late" is the share of packets that the gateway let pass more than 5 ms after their time. How late this
generator is does not count: arrival is the kernel's time stamp. A packet that the gateway makes (WebSocket,
voicemail) is due by the stream's own timestamps from its earliest packet on, which is the gateway's clock; a
packet that it relays is due when this generator has handed it to the kernel. "bare" is a bare loop that moves
the same datagrams and messages and does nothing else (`loadtests/bare_loop.py`), just before on the same
core: its CPU is the unit of "times bare", its late packets are the machine's share in ours.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import random
import re
import select
import socket
import struct
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.awake import awake
from loadtests.bare_loop import LATE, SO_TIMESTAMPNS, arrived, bare, pin, release
from loadtests.process_meter import cpu_ms, resident_kib
from loadtests.sipp_load import agent, caller
from tests.e2e.gateway_process import PROGRAM, GatewayProcess
from tests.rtpengine import RtpEngineDaemon

ROOT: Final = Path(__file__).parent.parent
FRAME: Final = 0.02
SETTLE: Final = 3.0
"""Seconds of audio before anything is counted."""

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

NUMBER, OTHER_NUMBER = "+14155550100", "+14155550101"
LAG: Final = "gateway_event_loop_lag_seconds"
COMPILED: Final = ROOT / ".venv-compiled" / "bin" / "voice-gateway"
SOUND: Final = bytes(range(0x40, 0xE0))


class Leg:
    """One end that hears RTP: a caller, or a SIP agent."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.sent: list[float] = []
        """Seconds since 1970 at which each packet was handed to the kernel."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]
        self.target: tuple[str, int] | None = None
        self.sequence = 0
        self.arrivals: list[tuple[float, int, int]] = []
        """Of each packet heard: seconds since 1970, timestamp, source (the port of whoever said it)."""

    def speak(self) -> None:
        if self.target is not None:
            head = HEADER.pack(0x80, 0, self.sequence & 0xFFFF, self.sequence * 160, self.port)
            self.sequence += 1
            self.sent.append(time.time())
            self.socket.sendto(head + SOUND, self.target)

    def listen(self, counting: bool) -> None:
        while True:
            try:
                packet, ancillary, _, _ = self.socket.recvmsg(2048, 64)
            except BlockingIOError:
                return
            if counting and ancillary and len(packet) > 12:
                _, _, _, timestamp, source = HEADER.unpack_from(packet)
                self.arrivals.append((arrived(ancillary), timestamp, source))

    def late(self, speakers: Mapping[int, Leg]) -> tuple[int, int, int]:
        """Packets heard, those that were late, and those that are missing between the first and the last.

        speakers: by their ports.
        """
        if not self.arrivals:
            return 0, 0, 0
        streams: dict[int, list[tuple[float, int]]] = {}
        for at, stamp, source in self.arrivals:
            streams.setdefault(source, []).append((at, stamp))
        late = lost = 0
        for source, packets in streams.items():
            first, last = packets[0][1], packets[-1][1]
            if (speaker := speakers.get(source)) is not None:
                behind = [at - speaker.sent[stamp // 160] for at, stamp in packets]
            else:
                beats = [at - ((stamp - first) & 0xFFFFFFFF) / 8000 for at, stamp in packets]
                beat = min(beats)
                behind = [each - beat for each in beats]
            late += sum(each > LATE for each in behind)
            lost += max(0, ((last - first) & 0xFFFFFFFF) // 160 + 1 - len(packets))
        return len(self.arrivals), late, lost


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
    """For TCP and UDP; outside of the range from which the kernel gives ports, or who asks whether somebody
    listens may be connected to itself."""
    for port in random.sample(range(12_000, 16_000), 1000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            try:
                udp.bind(("127.0.0.1", port))
                tcp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")


@dataclass(frozen=True, slots=True)
class Load:
    """What calls cost a gateway.

    busy: percent of its core; memory: kB a call; lag: seconds, p99 of how late its event loop was.
    """

    busy: float
    memory: float
    lag: float


@dataclass(frozen=True, slots=True)
class NewCalls:
    """Calls beside the others, that come and go: direct media, a second of talk.

    rate: a second; numbers: for SIPp, what to dial.
    """

    rate: int
    numbers: Path


def under_load(
    directory: Path,
    numbers: Path,
    generator: Generator,
    calls: int,
    seconds: float,
    *,
    farewell: float = 0.5,
    beside: Sequence[int] = (),
    new_calls: NewCalls | None = None,
    program: Path = PROGRAM,
    alone: bool = False,
    **sections: dict[str, object],
) -> Load:
    """Run a gateway on the first core under that many calls, the generator on the last one.

    numbers: the numbers file. farewell: seconds of talk after everybody has hung up. beside: further
    processes that share the core and are counted with it. program: the gateway. alone: at real-time
    priority. sections: further settings of the gateway.
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
    with (
        GatewayProcess(directory, settings, sip=sip, http=http, patience=90, program=program) as gateway,
        ExitStack() as stack,
    ):
        pinned = [gateway.pid, *beside]
        for pid in pinned:
            pin(pid, cores[0], alone)
        pin(os.getpid(), cores[-1], alone)
        stack.callback(release, cores)
        empty = resident_kib(gateway.pid)
        for number in range(calls):
            generator.call(sip, number)
        placed = None
        if new_calls is not None:
            placed = caller(
                directory,
                sip,
                new_calls.numbers,
                rate=new_calls.rate,
                calls=round(new_calls.rate * (SETTLE + seconds)),
                talk_ms=1000,
            )
        generator.talk(SETTLE / 2)
        lags = buckets(gateway, LAG)
        generator.talk(SETTLE / 2)
        for pid in pinned:  # threads that have begun meanwhile
            pin(pid, cores[0], alone)
        generator.counting = True
        cpu, began = sum(map(cpu_ms, pinned)), time.monotonic()
        generator.talk(seconds)
        busy = (sum(map(cpu_ms, pinned)) - cpu) / (time.monotonic() - began) / 10
        memory = (resident_kib(gateway.pid) - empty) / calls
        generator.counting = False
        lag = percentile(lags, buckets(gateway, LAG), 0.99)
        if placed is not None:
            outcome = placed.stop()
            assert not outcome.failed, outcome
        generator.hang_up()
        generator.talk(farewell)
    return Load(busy, memory, lag)


def buckets(gateway: GatewayProcess, histogram: str) -> dict[float, float]:
    """What a histogram has counted so far: by upper bound, and all below it with it."""
    with urllib.request.urlopen(f"http://{gateway.http[0]}:{gateway.http[1]}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found = re.findall(rf'^{histogram}_bucket{{le="([^"]+)"}} (\S+)$', text, re.MULTILINE)
    return {float(bound): float(count) for bound, count in found}


def percentile(before: Mapping[float, float], after: Mapping[float, float], share: float) -> float:
    """Below which that share of what was counted meanwhile lies; between two bounds in proportion."""
    counts = [(bound, count - before.get(bound, 0.0)) for bound, count in sorted(after.items())]
    wanted = counts[-1][1] * share
    below, seen = 0.0, 0.0
    for bound, count in counts:
        if count >= wanted and count > seen:
            return (
                below if bound == float("inf") else below + (bound - below) * (wanted - seen) / (count - seen)
            )
        below, seen = bound, count
    return below


@dataclass(frozen=True, slots=True)
class Row:
    """late: percent; memory: kB a call."""

    late: float
    memory: float

    @property
    def passed(self) -> bool:
        return self.late < 0.1 and self.memory < 150


def measure(
    kind: str,
    calls: int,
    seconds: float,
    chunk: int,
    *,
    rate: int = 0,
    program: Path = PROGRAM,
    alone: bool = False,
) -> Row:
    """One row, printed. rate: new calls a second beside the others."""
    yardstick = bare("relay" if kind == "rtpengine" else kind, calls, min(seconds, 5.0), alone=alone)
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
        written = f'{agents}[[numbers]]\nphone_number = "{NUMBER}"\n{routing}'
        new_calls = None
        if rate:
            other = agent(directory)
            stack.callback(other.stop)
            url = other.agent_uri
            written += (
                f'[[agents]]\nid = "agt_new"\nname = "New"\nendpoints = [{{ url = "{url}" }}]\n'
                f'[[numbers]]\nphone_number = "{OTHER_NUMBER}"\n'
                '[numbers.inbound_routing]\nagent_id = "agt_new"\n'
            )
            new_calls = NewCalls(rate, directory / "new.csv")
            new_calls.numbers.write_text(f"SEQUENTIAL\n{OTHER_NUMBER}\n")
        numbers.write_text(written)
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
        load = under_load(
            directory,
            numbers,
            generator,
            calls,
            seconds,
            beside=beside,
            new_calls=new_calls,
            program=program,
            alone=alone,
            **sections,
        )
    ends = [*generator.callers, *generator.agents]
    speakers = {end.port: end for end in ends} if kind in ("relay", "rtpengine") else {}
    heard, late, lost = (sum(values) for values in zip(*(end.late(speakers) for end in ends), strict=True))
    for end in ends:
        end.socket.close()
    expected = len(ends) * seconds / FRAME
    share = late / max(heard, 1) * 100
    busy, memory = load.busy, load.memory
    print(
        f"| {kind} | {calls} | {busy:.1f} % | {busy / calls / 50 * 1e4:.0f} µs | {busy / yardstick.busy:.2f}"
        f" | {share:.3f} % | {yardstick.late:.3f} % | {lost} | {100 * (1 - heard / expected):.2f} %"
        f" | {memory:.0f} kB | {load.lag * 1000:.1f} ms |",
        flush=True,
    )
    return Row(share, memory)


def main() -> int:
    parser = argparse.ArgumentParser(description="Calls with audio through a gateway on one core.")
    parser.add_argument("kind", nargs="?", choices=sorted(BARS), help="By default all of them, as a table.")
    parser.add_argument("--calls", type=int, nargs="+")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--chunk", type=int, default=160, help="Bytes a message of a WebSocket agent.")
    parser.add_argument("--new-calls", type=int, default=0, help="A second, beside the others.")
    parser.add_argument("--compiled", action="store_true", help="The compiled build.")
    parser.add_argument("--alone", action="store_true", help="At real-time priority.")
    options = parser.parse_args()
    print(
        "| calls over | at once | CPU of a core | CPU a call and frame | times bare | late > 5 ms | bare late"
        " | lost | not heard | memory a call | loop's lag p99 |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    program = COMPILED if options.compiled else PROGRAM
    kinds = {options.kind: options.calls or [BARS[options.kind]]} if options.kind else TABLE
    passed = True
    with awake():
        for kind, numbers in kinds.items():
            for calls in numbers:
                row = measure(
                    kind,
                    calls,
                    options.seconds,
                    options.chunk,
                    rate=options.new_calls,
                    program=program,
                    alone=options.alone,
                )
                passed = passed and row.passed
                if row.late > TOO_LATE:
                    break
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

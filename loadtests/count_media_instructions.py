"""Machine instructions of 20 ms of a call with audio, one frame each way, against a committed baseline.

    python -m loadtests.count_media_instructions [--write]

`stream`: a packet of the caller becomes a message to a WebSocket agent, and a message of the agent a packet
to the caller, by everything from the socket's callback to the socket. `relay`: a packet of each leg goes to
the other. `voicemail`: a packet of the caller is followed and written to disk, silence is sent.
Sockets are real, the beat is a clock set by hand, the agent's connection is in memory. Counted by callgrind,
which is told when to begin: after the first seconds, in which delays are learned. The system's own part of a
system call is not in it, what the other end does with its socket is. As in
`loadtests.count_instructions` a yardstick is counted likewise, for other builds of Python. `--write` makes
the present figures the baseline.
"""

from __future__ import annotations

import argparse
import asyncio
import binascii
import gc
import heapq
import itertools
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextvars import Context
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

from gateway.destinations.agent_socket import OpenSocket
from gateway.destinations.stream_conversation import StreamConversation
from gateway.media.codecs import PCMU
from gateway.media.loudness import magnitude_of
from gateway.media.message_take import MessageTake
from gateway.media.port_pool import DEFAULT_LOW, PortPool
from gateway.media.ports import MediaPort
from gateway.media.recorder import Recorder
from gateway.media.relay import Relay
from gateway.media.session import AudioSession
from gateway.media.voice_activity import VoiceActivity
from gateway.streams.protocol import StreamedCall
from gateway.streams.twilio import TwilioStream
from loadtests.count_instructions import KIND, MAX_SECONDS, ROUNDS, Count, _yardstick

BASELINE: Final = Path(__file__).parent / "data" / "media_instructions.json"

SETTLE, FRAMES = 200, 250
"""Frames before counting, and counted."""

FRAME: Final = 0.02
SOUND: Final = bytes(range(0x40, 0xE0))
CONTROL: Final = "callgrind_control"


class SteppedLoop:
    """What the parts of a call want of an event loop, at the least cost: time is what was last said."""

    def __init__(self) -> None:
        self.now = 0.0
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []

    def time(self) -> float:
        return self.now

    def call_at(
        self, when: float, work: Callable[..., object], *arguments: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, work, arguments, cast("asyncio.AbstractEventLoop", self), context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def call_later(self, seconds: float, work: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
        return self.call_at(self.now + seconds, work, *arguments)

    def call_soon(
        self, work: Callable[..., object], *arguments: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now, work, *arguments, context=context)

    def run_in_executor(
        self, executor: object, work: Callable[..., Any], *arguments: Any
    ) -> asyncio.Future[Any]:
        done = self.create_future()
        done.set_result(work(*arguments))
        return done

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=cast("asyncio.AbstractEventLoop", self))

    def get_debug(self) -> bool:
        return False

    def add_reader(self, descriptor: object, read: Callable[[], None]) -> None:
        self.read = read

    def remove_reader(self, descriptor: object) -> None: ...

    def run_until(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            self.now, _, handle = heapq.heappop(self._timers)
            if not handle.cancelled():
                handle._run()
        self.now = now

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None: ...


class _Connection:
    """The transport, connection and answer of an agent that reads everything at once."""

    def __init__(self) -> None:
        self.connection = self.transport = self.protocol = self
        self.written = 0
        self.read: Callable[[bytes], None] = len

    def connection_lost(self, error: object) -> None: ...

    def eof_received(self) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def set_parser(self, parser: object, payload: object) -> None: ...

    def set_protocol(self, protocol: Any) -> None:
        self.read = protocol.data_received

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        self.written += 1


class Peer:
    """Whoever is at the other end of a media port."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.target: tuple[str, int] = ("", 0)
        self.heard = 0

    def meet(self, port: MediaPort) -> None:
        """Speak to a port, which sends here."""
        port.set_remote("127.0.0.1", self.socket.getsockname()[1])
        self.target = port.address

    def speak(self, number: int) -> None:
        head = struct.pack("!BBHII", 0x80, 0, number & 0xFFFF, number * 160, 7)
        self.socket.sendto(head + SOUND, self.target)

    def listen(self) -> None:
        self.socket.recv(2048)
        self.heard += 1


def stream() -> Iterator[None]:
    """A call over a WebSocket; each step is 20 ms of it."""
    loop = _running()
    pool, caller = PortPool(high=DEFAULT_LOW + 15, clock=loop.time), Peer()
    port = pool.open()
    caller.meet(port)
    session = AudioSession(
        port, PCMU, live=True, continuous=True, form=PCMU, random_bits=lambda bits: 1, clock=loop.time
    )
    connection = _Connection()
    agent = OpenSocket(cast("Any", connection))
    call = SimpleNamespace(happened=lambda *told: None)
    protocol = TwilioStream(StreamedCall("call", "+14155550123", "+14155550100", "agt", "twilio"), {})
    StreamConversation(cast("Any", call), agent, protocol, session).begin()
    payload = binascii.b2a_base64(SOUND, newline=False)
    said = b'{"event":"media","streamSid":"MZ0","media":{"payload":"%b"}}' % payload
    said = struct.pack("!BBH", 0x81, 126, len(said)) + said
    for number in itertools.count():
        now = number * FRAME
        loop.run_until(now)
        caller.speak(number)
        loop.read()
        connection.read(said)
        loop.run_until(now + FRAME / 2)
        caller.listen()
        yield


def relay() -> Iterator[None]:
    """A relayed call; each step is 20 ms of it."""
    loop = _running()
    pool, ends = PortPool(high=DEFAULT_LOW + 15, clock=loop.time), (Peer(), Peer())
    legs = Relay(pool.open(), pool.open(), clock=loop.time)
    for end, port in zip(ends, (legs.a, legs.b), strict=True):
        end.meet(port)
    for number in itertools.count():
        loop.now = number * FRAME
        for end in ends:
            end.speak(number)
        loop.read()
        for end in ends:
            end.listen()
        yield


def voicemail() -> Iterator[None]:
    """A caller who is recorded; each step is 20 ms of it."""
    loop = _running()
    pool, caller = PortPool(high=DEFAULT_LOW + 15, clock=loop.time), Peer()
    port = pool.open()
    caller.meet(port)
    session = AudioSession(
        port, PCMU, 0, 101, continuous=True, form=PCMU, random_bits=lambda bits: 1, clock=loop.time
    )
    session.play(bytes(320))
    with tempfile.TemporaryDirectory(prefix="count-media-") as directory:
        recorder = Recorder(Path(directory, "message.wav"), max_seconds=60, form=PCMU)
        activity = VoiceActivity(loop.time(), magnitude_of(PCMU))
        session.on_audio = MessageTake(recorder, activity, loop.time).hear
        for number in itertools.count():
            now = number * FRAME
            loop.run_until(now)
            caller.speak(number)
            loop.read()
            caller.listen()
            yield


def yardstick() -> Iterator[None]:
    """Plain work with strings and dictionaries."""
    while True:
        for _ in range(ROUNDS // 5):
            _yardstick()
        yield


WORK: Final[dict[str, Callable[[], Iterator[None]]]] = {
    "stream": stream,
    "relay": relay,
    "voicemail": voicemail,
    "yardstick": yardstick,
}


KINDS: Final = ("stream", "relay", "voicemail")
"""What is compared with a baseline."""


def _running() -> SteppedLoop:
    loop = SteppedLoop()
    asyncio.events._set_running_loop(cast("asyncio.AbstractEventLoop", loop))
    return loop


@dataclass(frozen=True, slots=True)
class Counts:
    """Instructions of 20 ms of a call of each kind, and of the yardstick; python: by which."""

    python: str
    stream: int
    relay: int
    voicemail: int
    yardstick: int

    def of(self, kind: str) -> Count:
        """One kind's, to compare."""
        return Count(self.python, getattr(self, kind), self.yardstick)


def count() -> Counts:
    """Run everything under callgrind. Raises RuntimeError with what it said if that fails."""
    with tempfile.TemporaryDirectory(prefix="count-media-") as directory:
        command = [
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={directory}/out",
        ]
        command += [sys.executable, "-m", __spec__.name, "--work"]
        settled = {
            "PYTHONHASHSEED": "0",
            "PYTHONMALLOC": "pymalloc",
            "PYTHONSAFEPATH": "1",  # the gateway of this environment, not the checkout's
            "OPENBLAS_NUM_THREADS": "1",
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=MAX_SECONDS, env=settled, check=False
        )
        counted = [_total(Path(directory, f"out.{number}")) for number in range(1, len(WORK) + 1)]
    if done.returncode or not all(counted):
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return Counts(sys.version, *(each // FRAMES for each in counted))


def baselines() -> dict[str, Counts]:
    """What is committed, by the kind of build."""
    return {kind: Counts(**fields) for kind, fields in json.loads(BASELINE.read_text()).items()}


def baseline() -> Counts:
    """What is committed for this build."""
    return baselines()[KIND]


def _total(dump: Path) -> int:
    found = (
        re.search(r"^(?:totals|summary): (\d+)", dump.read_text(), re.MULTILINE) if dump.exists() else None
    )
    return int(found[1]) if found else 0


def _work() -> None:
    """Under callgrind: all kinds, one dump each."""
    gc.disable()  # when it runs depends on everything before
    counting = False
    for make in WORK.values():
        steps = make()
        for _ in range(SETTLE):
            next(steps)
        if not counting:
            _tell("--instr=on")
            counting = True
        _tell("--zero")
        for _ in range(FRAMES):
            next(steps)
        _tell("--dump")


def _tell(order: str) -> None:
    subprocess.run([CONTROL, order, str(os.getpid())], check=True, stdout=subprocess.DEVNULL, timeout=60)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="make this the baseline")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        _work()
        return 0
    counts = count()
    for kind in KINDS:
        counted = counts.of(kind)
        print(f"{kind}: {counted.call:,} instructions for 20 ms, {counted.ratio:.3f} yardsticks")
    if options.write:
        written = {kind: asdict(each) for kind, each in sorted((baselines() | {KIND: counts}).items())}
        BASELINE.write_text(json.dumps(written, indent=2) + "\n")
        return 0
    expected = baseline()
    grown = {kind: counts.of(kind).growth(expected.of(kind)) for kind in KINDS}
    print(", ".join(f"{kind} {growth:+.1%}" for kind, growth in grown.items()), "against the baseline")
    return (
        0
        if all(growth <= counts.of(kind).allowed(expected.of(kind)) for kind, growth in grown.items())
        else 1
    )


if __name__ == "__main__":
    sys.exit(main())

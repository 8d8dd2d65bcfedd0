"""One end of a media stream: speaks what it is given, 20 ms at a time, and keeps everything it hears."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import struct
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from tests.e2e.audio import FRAME, RATE, Samples, decode, encode, silence
from tests.e2e.patience import PATIENCE

_HEADER = struct.Struct("!BBHII")
_EVENTS = "0123456789*#ABCD"
EVENT_TYPE = 101  # the telephone-event payload type that every offer here uses


@dataclass(frozen=True, slots=True)
class Packet:
    """A received RTP packet (RFC 3550 §5.1); ``at`` is the monotonic time of arrival in seconds."""

    at: float
    source: tuple[str, int]
    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def _bind_even(host: str) -> socket.socket:
    """A UDP socket on an even port, as RTP wants (RFC 3550 §11)."""
    for _ in range(64):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, 0))
        if sock.getsockname()[1] % 2 == 0:
            return sock
        sock.close()
    raise OSError("no even port found")


class RtpPeer:
    """Hears at all times; sends silence, or what ``say`` queued, once ``connect`` names the other side."""

    def __init__(self, host: str = "127.0.0.1", *, codec: str = "PCMU") -> None:
        self.codec = codec
        self.payload_type = {"PCMU": 0, "PCMA": 8}[codec]
        self.received: list[Packet] = []
        self._socket = _bind_even(host)
        self._socket.settimeout(0.1)
        self.address: tuple[str, int] = self._socket.getsockname()
        self._remote: tuple[str, int] | None = None
        self._queue: list[bytes] = []
        self._looped = False
        self._closing = threading.Event()
        self._started = threading.Event()
        self._sequence = itertools.count(random.randrange(0xF000))
        self._clock = itertools.count(random.randrange(1 << 30), FRAME)
        self._ssrc = random.getrandbits(32)
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._hear, self._speak)]
        for thread in self._threads:
            thread.start()

    def connect(self, remote: tuple[str, int]) -> None:
        """Send towards ``remote`` from now on."""
        self._remote = remote
        self._started.set()

    def mute(self) -> None:
        """Send nothing any more, not even silence."""
        self._remote = None

    def say(self, samples: Samples, *, forever: bool = False) -> None:
        """Replace what is being said; silence follows it unless it is to be repeated ``forever``."""
        whole = len(samples) // FRAME * FRAME
        self._looped = forever
        self._queue = [encode(samples[i : i + FRAME], self.codec) for i in range(0, whole, FRAME)]

    def press(self, digit: str) -> None:
        """One RFC 4733 telephone-event: 100 ms long, its end sent three times (§2.5.1.4)."""
        assert self._remote is not None
        timestamp = next(self._clock)
        for i, duration in enumerate([160, 320, 480, 640, 800, 800, 800]):
            end = 0x80 if duration == 800 else 0
            event = struct.pack("!BBH", _EVENTS.index(digit), end | 10, duration)
            kind = EVENT_TYPE | (0x80 if i == 0 else 0)
            header = _HEADER.pack(0x80, kind, next(self._sequence) & 0xFFFF, timestamp, self._ssrc)
            self._socket.sendto(header + event, self._remote)
            time.sleep(0.02)

    def heard(self, since: float = 0.0) -> Samples:
        """What arrived after ``since`` (monotonic seconds), each packet put where its timestamp says."""
        packets = [p for p in self.received if p.at >= since and p.payload_type == self.payload_type]
        streams: list[Samples] = []
        for _, group in itertools.groupby(packets, key=lambda p: p.ssrc):
            stream = list(group)
            first = stream[0].timestamp
            offsets = [(p.timestamp - first) & 0xFFFFFFFF for p in stream]
            kept = [(o, p) for o, p in zip(offsets, stream, strict=True) if o < 600 * RATE]
            track = silence((max(o for o, _ in kept) + FRAME * 2) / RATE)
            for offset, packet in kept:
                sound = decode(packet.payload, self.codec)
                track[offset : offset + len(sound)] = sound[: len(track) - offset]
            streams.append(track)
        return np.concatenate(streams) if streams else silence(0)

    def digits(self) -> str:
        """The RFC 4733 digits that arrived, one for each event."""
        events = {p.timestamp: _EVENTS[p.payload[0]] for p in self.received if p.payload_type == EVENT_TYPE}
        return "".join(events.values())

    def wait_for_packets(self, count: int, timeout: float = PATIENCE, since: float = 0.0) -> None:
        """Return when ``count`` packets have come since then; fails the test after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while sum(1 for p in self.received if p.at >= since) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(self.received)} RTP packets at {self.address}, wanted {count}")
            time.sleep(0.01)

    def _hear(self) -> None:
        while not self._closing.is_set():
            try:
                data, source = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            except OSError:
                return
            if len(data) < 12 or data[0] >> 6 != 2:
                continue
            _, kind, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
            self.received.append(
                Packet(
                    time.monotonic(), source, kind & 0x7F, kind > 0x7F, sequence, timestamp, ssrc, data[12:]
                )
            )

    def _speak(self) -> None:
        quiet = encode(silence(0.02), self.codec)
        self._started.wait()
        due = time.monotonic()
        position = 0
        queue: list[bytes] = []
        while not self._closing.is_set():
            if queue is not self._queue:
                queue, position = self._queue, 0
            if position >= len(queue) and self._looped:
                position = 0
            payload = queue[position] if position < len(queue) else quiet
            position += 1
            header = _HEADER.pack(
                0x80,
                self.payload_type,
                next(self._sequence) & 0xFFFF,
                next(self._clock) & 0xFFFFFFFF,
                self._ssrc,
            )
            with contextlib.suppress(OSError):  # a closed port on the other side is the test's business
                if self._remote is not None:
                    self._socket.sendto(header + payload, self._remote)
            due += 0.02
            self._closing.wait(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        self._closing.set()
        self._started.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

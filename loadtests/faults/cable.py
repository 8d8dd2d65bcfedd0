"""A slow cable, for kernels without netem: frames pass through this process, which keeps them for a while.

A host's cable is taken off its bridge, and a TAP device of ours put there; what comes out of the one goes
into the other, later, in order, some of it never. Nothing of it is there while the cable is as it should be.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import select
import socket
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

DELAY: Final = (0.050, 0.100)
"""Seconds that each frame takes longer, each way, at least and at most."""

LOSS: Final = 0.01
"""Share of frames that never arrive, each way."""

MAX_WAITING: Final = 10_000
"""Frames on their way in each direction; what comes then is lost, as in any queue that is full."""

_TUN: Final = Path("/dev/net/tun")
_TUNSETIFF: Final = 0x400454CA
_IFF_TAP: Final = 0x0002
_IFF_NO_PI: Final = 0x1000
_ETH_P_ALL: Final = 0x0003
_SIOCETHTOOL: Final = 0x8946
_OFFLOADS: Final = (0x17, 0x19, 0x1F, 0x24)
"""ETHTOOL_STXCSUM, _SSG, _STSO, _SGSO: of linux/ethtool.h."""

_FRAME: Final = 65_536


def possible() -> bool:
    """Whether this kernel has TAP devices, and we may make them."""
    try:
        os.close(_tap("vgtry"))
    except OSError:
        return False
    return True


def send_whole_frames(device: str) -> None:
    """Have a network device send frames as they would be on a wire: with checksums, none too long."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ask:
        for command in _OFFLOADS:
            value = ctypes.create_string_buffer(struct.pack("@II", command, 0))
            words = struct.pack("@16sP16x", device.encode(), ctypes.addressof(value))
            fcntl.ioctl(ask, _SIOCETHTOOL, words)


def _tap(name: str) -> int:
    descriptor = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("@16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class SlowCable:
    """In place of a cable, until it is taken away.

    Args:
        device: this end of the cable; bridge: that it is on.
        name: of the TAP device, 15 letters at most.

    """

    def __init__(self, device: str, bridge: str, name: str) -> None:
        self._device, self._bridge = device, bridge
        self._dice = random.Random(name)
        self._tap = _tap(name)
        self._wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK)
        self._wire.bind((device, _ETH_P_ALL))
        self._over = threading.Event()
        _ip("link", "set", device, "nomaster")
        _ip("link", "set", name, "master", bridge, "up")
        self._thread = threading.Thread(target=self._run, name=f"cable of {device}", daemon=True)
        self._thread.start()

    def take_away(self) -> None:
        """The cable is as it was; what was on its way is lost."""
        self._over.set()
        self._thread.join()
        os.close(self._tap)  # and with it the device is gone
        self._wire.close()
        _ip("link", "set", self._device, "master", self._bridge)

    def _run(self) -> None:
        inwards: deque[tuple[float, bytes]] = deque()
        outwards: deque[tuple[float, bytes]] = deque()
        while not self._over.is_set():
            ready, _, _ = select.select([self._tap, self._wire], [], [], self._pause(inwards, outwards))
            if self._tap in ready:
                self._take(self._from_bridge, inwards)
            if self._wire in ready:
                self._take(self._from_host, outwards)
            self._give(inwards, self._wire.send)
            self._give(outwards, lambda frame: os.write(self._tap, frame))

    def _pause(self, *queues: deque[tuple[float, bytes]]) -> float:
        due = min((queue[0][0] for queue in queues if queue), default=float("inf"))
        return min(0.1, max(0.0, due - time.monotonic()))

    def _from_bridge(self) -> bytes:
        return os.read(self._tap, _FRAME)

    def _from_host(self) -> bytes:
        frame, where = self._wire.recvfrom(_FRAME)
        return b"" if where[2] == socket.PACKET_OUTGOING else frame

    def _take(self, read: Callable[[], bytes], queue: deque[tuple[float, bytes]]) -> None:
        while True:
            try:
                frame = read()
            except OSError:  # nothing is left, or the cable was pulled
                return
            if frame and len(queue) < MAX_WAITING and self._dice.random() >= LOSS:
                due = time.monotonic() + self._dice.uniform(*DELAY)
                queue.append((max(due, queue[-1][0]) if queue else due, frame))

    def _give(self, queue: deque[tuple[float, bytes]], write: Callable[[bytes], object]) -> None:
        now = time.monotonic()
        while queue and queue[0][0] <= now:
            try:
                write(queue.popleft()[1])
            except OSError:  # the cable was pulled
                continue


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)

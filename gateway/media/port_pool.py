"""The range of media ports: opened in pairs, closed late, reused oldest first."""

from __future__ import annotations

import errno
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from gateway.media.latch import SymmetricLatch
from gateway.media.poller import SocketPoller
from gateway.media.ports import Network, NoPortLeft
from gateway.media.reception import PortStats
from gateway.media.rtcp_reporter import Reporter
from gateway.media.rtp_port import RtpPort
from gateway.media.sockets import SocketPair

DEFAULT_LOW, DEFAULT_HIGH = 16384, 32767
"""Below Linux's ephemeral range (32768–60999): inside of it the kernel hands our ports to anyone's outgoing
sockets, and one call in some hundreds fails for it. 8192 pairs: 4096 relayed calls, beyond what one process
carries."""

LINGER = 3.0
"""Seconds that a closed port rests, still bound: peers keep sending for a moment after BYE, and their
packets must neither reach the next call nor be answered by ICMP errors."""


def _ignore(stats: PortStats) -> None:
    """What happens to counts that nobody asked for."""


class PortPool:
    """Hands out `RtpPort`s from a range of UDP ports on one host.

    Args:
        host: address to bind, IPv4 or IPv6.
        low, high: the range, both included; RTP takes the even ports.
        advertise: the address written into SDP where it differs from `host` (NAT, or `host` is a wildcard).
        linger: seconds that a closed port rests before it is reused.
        clock: seconds; shared by every port's `last_packet_at`.
        wall_clock: seconds since 1970, for what reports say of time; asked once.
        on_closed: told what a port has seen, when it is closed.

    Raises:
        ValueError: the range holds no pair, or a wildcard host comes without an address to advertise.

    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        low: int = DEFAULT_LOW,
        high: int = DEFAULT_HIGH,
        *,
        advertise: str | None = None,
        linger: float = LINGER,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        on_closed: Callable[[PortStats], None] = _ignore,
    ) -> None:
        ports = list(range(low + low % 2, high, 2))
        if not ports or not 0 < low <= high < 0x10000:
            raise ValueError(f"media port range {low}-{high} holds no even port with an odd one above it")
        if ip_address(host).is_unspecified and advertise is None:
            raise ValueError(f"media host {host} binds every address: say which one to advertise to peers")
        # In random order, so that media meant for calls before a restart finds nobody, and ports are no
        # easy guess.
        secrets.SystemRandom().shuffle(ports)
        self._host = host
        self._advertise = advertise or host
        self._linger = linger
        self._clock = clock
        self._ntp_offset = wall_clock() - clock()
        self._on_closed = on_closed
        self._unbound = deque(ports)
        self._resting: deque[tuple[float, SocketPair]] = deque()
        self._open: set[RtpPort] = set()
        self._poller: SocketPoller | None = None

    @property
    def in_use(self) -> int:
        """Ports that are open now; resting ones do not count."""
        return len(self._open)

    def open_stats(self) -> list[PortStats]:
        """What the ports that are open now have seen so far."""
        return [port.stats for port in self._open]

    def open(self, latch_ranges: Sequence[Network] | None = None, *, ipv6: bool = False) -> RtpPort:
        """See `MediaPorts.open`; a pool has one family only. Needs a running loop; does not block."""
        if self._poller is None:
            self._poller = SocketPoller()
        sockets = self._rested() or self._bind()

        def give_back(pair: SocketPair) -> None:
            self._open.discard(port)
            self._on_closed(port.stats)
            self._resting.append((self._clock(), pair))

        port = RtpPort(
            sockets,
            (self._advertise, sockets.port),
            SymmetricLatch(latch_ranges),
            poller=self._poller,
            clock=self._clock,
            on_close=give_back,
        )
        port.report_by(Reporter(port, clock=self._clock, ntp_offset=self._ntp_offset))
        self._open.add(port)
        return port

    def close(self) -> None:
        """Close every port at once and give all of them back to the system."""
        for port in tuple(self._open):
            port.close()
        while self._resting:
            sockets = self._resting.popleft()[1]
            sockets.close()
            self._unbound.append(sockets.port)
        if self._poller is not None:
            self._poller.close()
            self._poller = None

    def _rested(self) -> SocketPair | None:
        """The pair that has rested longest, if long enough; preferred, so that few sockets are ever bound."""
        if not self._resting or self._clock() - self._resting[0][0] < self._linger:
            return None
        sockets = self._resting.popleft()[1]
        sockets.drain()
        return sockets

    def _bind(self) -> SocketPair:
        for _ in range(len(self._unbound)):
            number = self._unbound.popleft()
            try:
                return SocketPair(self._host, number)
            except OSError as error:
                self._unbound.append(number)
                # Out of descriptors, or not our host: the next port would fail alike.
                if error.errno != errno.EADDRINUSE:
                    raise NoPortLeft(f"cannot open media port {number} on {self._host}: {error}") from error
        raise NoPortLeft(f"{len(self._open)} media ports in use, {len(self._resting)} resting, none left")

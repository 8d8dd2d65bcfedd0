"""Media ports of both address families: a leg's audio leaves from an address that its peer can send to."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.media.port_pool import PortPool
from gateway.media.ports import Network
from gateway.media.reception import PortStats
from gateway.media.rtp_port import RtpPort


class DualStackPorts:
    """Two pools, one for each family. Fulfils `MediaPorts`.

    Args:
        ipv4, ipv6: the pools; None for a family that this machine has no media address of, whose legs get a
            port of the other one.

    Raises:
        ValueError: there is neither.

    """

    def __init__(self, ipv4: PortPool | None, ipv6: PortPool | None) -> None:
        self._pools = [pool for pool in (ipv4, ipv6) if pool is not None]
        if not self._pools:
            raise ValueError("no media address")
        self._ipv4 = ipv4 or self._pools[0]
        self._ipv6 = ipv6 or self._pools[0]

    @property
    def in_use(self) -> int:
        """Ports that are open now, of both families."""
        return sum(pool.in_use for pool in self._pools)

    def open_stats(self) -> list[PortStats]:
        """What the ports that are open now have seen so far."""
        return [stats for pool in self._pools for stats in pool.open_stats()]

    def open(self, latch_ranges: Sequence[Network] | None = None, *, ipv6: bool = False) -> RtpPort:
        """See `MediaPorts.open`."""
        return (self._ipv6 if ipv6 else self._ipv4).open(latch_ranges)

    def close(self) -> None:
        """Close every port at once."""
        for pool in self._pools:
            pool.close()

"""Two ports joined: every packet of one leg goes to the other untouched.

Nothing is rewritten, so SSRC, sequence numbers and timestamps are the sender's own, and a relay between two
ports has no per-packet code of its own at all: each port's sink is the other's `send`.

RTCP ends here: each port reports to its own peer (`gateway.media.rtcp_reporter`). So a carrier has its
reports also from agents that send none, each leg is measured by itself, a transcoded call has the same RTCP
as any other, and nothing an agent writes reaches the carrier. Only SRTP's is forwarded: its keys are the two
ends' own.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.media.ports import MediaPort
from gateway.media.rtp_port import discard


class Relay:
    """Forwards RTP between two media ports, both ways.

    Args:
        a, b: the two legs; the relay owns them and closes them.
        clock: seconds, the one that the ports' `last_packet_at` comes from.

    """

    __slots__ = ("_clock", "_since_a", "_since_b", "a", "b")

    def __init__(
        self,
        a: MediaPort,
        b: MediaPort,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.a = a
        self.b = b
        self._since_a = self._since_b = clock()
        self._join()

    def retarget(self, b: MediaPort) -> None:
        """Join `a` to another leg (a rescue): the old one is closed, its silence starts anew."""
        if b is not self.b:
            self.b.close()
        self.b = b
        self._since_b = self._clock()
        self._join()

    def silence(self, now: float) -> tuple[float, float]:
        """Seconds since a packet came from `a` and from `b`; before the first, since the leg was joined."""
        return now - _last(self.a, self._since_a), now - _last(self.b, self._since_b)

    def detach(self) -> MediaPort:
        """Take the relay apart, keeping leg `a` open for a session of its own (voicemail, say)."""
        self.b.close()
        self.a.sink = discard
        return self.a

    def close(self) -> None:
        """Close both ports. Idempotent."""
        self.a.close()
        self.b.close()

    def _join(self) -> None:
        self.a.sink, self.b.sink = self.b.send, self.a.send


def _last(port: MediaPort, since: float) -> float:
    return since if port.last_packet_at is None else port.last_packet_at

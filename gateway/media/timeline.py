"""Where on a recording's time the packets of one stream belong.

The sender's timestamps say how packets lie among each other, our clock says where they lie among those of the
other side. Packets can only be late: so the earliest ones of each second tell how far the two clocks are
apart, jitter does not, and a sender whose clock runs fast or slow is followed a sample at a time, which
nobody hears.
"""

from __future__ import annotations

from gateway.media.rtp import signed32

WINDOW_SECONDS = 1.0
"""Over which the earliest packet is looked for."""

WINDOW_PACKETS = 10
"""At least, or a single late packet after a pause would be believed."""

TOLERANCE_SECONDS = 0.004
"""That the clocks may be apart before they are brought together; below it jitter would be followed."""

STEP_SECONDS = 0.020
"""Apart by more, they are brought together at once: a path changed, a sender paused its timestamps."""

RESTART_SECONDS = 1.0
"""A packet further from where it is expected begins anew: another sender, or a forged timestamp."""


class Timeline:
    """One stream, which may change its source.

    Args:
        rate: of the recording, Hz.

    """

    __slots__ = (
        "_apart",
        "_at",
        "_clock_rate",
        "_earliest",
        "_rate",
        "_seen",
        "_ssrc",
        "_timestamp",
        "_window_ends",
    )

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._ssrc: int | None = None
        self._clock_rate = 0
        self._timestamp = 0
        self._at = 0.0
        self._earliest = 0.0
        self._seen = 0
        self._apart = 0.0
        self._window_ends = 0.0

    def place(self, ssrc: int, timestamp: int, clock_rate: int, now: float) -> int:
        """Where the packet begins, in samples since the recording did.

        timestamp: in units of `clock_rate`; now: its arrival, in seconds since the recording began.
        """
        rate = self._rate
        arrived = now * rate
        expected = self._at + signed32(timestamp - self._timestamp) * rate / clock_rate
        late = arrived - expected
        if (
            ssrc != self._ssrc
            or clock_rate != self._clock_rate
            or not -RESTART_SECONDS * rate < late < RESTART_SECONDS * rate
        ):
            self._ssrc, self._clock_rate = ssrc, clock_rate
            self._begin_window(now)
            self._apart = 0.0
            expected = arrived
        else:
            self._earliest = min(self._earliest, late)
            self._seen += 1
            if now >= self._window_ends and self._seen >= WINDOW_PACKETS:
                self._apart = self._earliest
                self._begin_window(now)
            expected += self._correction()
        self._timestamp, self._at = timestamp, expected
        return round(expected)

    def _begin_window(self, now: float) -> None:
        self._earliest = float("inf")
        self._seen = 0
        self._window_ends = now + WINDOW_SECONDS

    def _correction(self) -> float:
        """Samples by which this packet moves."""
        apart = self._apart
        if abs(apart) < TOLERANCE_SECONDS * self._rate:
            return 0.0
        step = apart if abs(apart) > STEP_SECONDS * self._rate else (1.0 if apart > 0 else -1.0)
        self._apart -= step
        self._earliest -= step  # what this window has seen so far was seen from where we were
        return step

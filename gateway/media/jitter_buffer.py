"""Playing packets in real time: each at its moment, early ones kept, late ones given up.

`ReorderBuffer` waits as long as it takes and suits recordings. Here somebody listens, and a frame has to come
every 20 ms whether or not there is a packet. So the buffer is asked in the beat in which audio is sent on; it
is pure: packets and `now` in, packets and gaps out. Driving it by arrivals instead would save half a frame of
delay and cost the beat: a listening agent would hear nothing at all, not even silence, while packets are lost
or silence is suppressed, and its detection of the end of speech would wait for ever.

Two states. *Waiting*, at the beginning and in pauses: the next audio starts when it has aged by the target of
`NetworkDelay`; each pause so corrects the delay without anybody hearing it. *Flowing*: one frame after the
other by timestamp. A missing packet with later ones at hand is lost and passed over. When nothing is at hand,
either the network is slow or the peer has stopped, which only the next packet tells: the gap is filled, but
the place in the stream is kept, so that slow packets are played after all and the delay has grown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, TypeVar

from gateway.media.network_delay import NetworkDelay

T = TypeVar("T")

FRAME_SECONDS = 0.02

MAX_HELD = 64
"""Packets kept: more than a second at 20 ms each. A flood pushes out the oldest."""

MAX_LATE = 100
"""Sequence numbers up to this far behind are late or duplicates; further away the source restarted (RFC 3550
A.1)."""

MAX_AHEAD = 3000
"""… and up to this far ahead loss (RFC 3550 A.1, MAX_DROPOUT)."""

REBASED = 1.0
"""Seconds by which a transit time changes only if the peer has set its media clock anew."""

HOPELESS = 0.5
"""Seconds behind the target beyond which audio is skipped whatever it is, so that the conversation catches
up."""

GIVEN_UP = 0.2
"""Seconds with nothing at hand after which the peer is taken to have paused."""

TIMER_GRAIN = 0.002
"""Seconds that a beat may come early."""

_RECEIVED: Final = (1 << (MAX_LATE + 1)) - 1


class Gap(Enum):
    """Why there is no packet for this frame."""

    PAUSE = "the peer has nothing to say, or has not begun"
    LOST = "a packet that later ones have overtaken"
    EMPTY = "nothing at hand: late, lost or a pause"


@dataclass(slots=True)
class JitterStats:
    """What happened to a stream.

    played: packets given out.
    concealed: frames of 20 ms that stand for lost or late packets.
    underruns: those of them whose packets were only late, and were played after all.
    late: packets that came after their frame.
    duplicates: packets that came twice.
    skipped: packets left out to catch up; stretched: frames put in to fall back.
    restarts: changes of source or of its numbers.
    """

    played: int = 0
    concealed: int = 0
    underruns: int = 0
    late: int = 0
    duplicates: int = 0
    skipped: int = 0
    stretched: int = 0
    restarts: int = 0


class JitterBuffer(Generic[T]):
    """One received stream.

    Args:
        clock_rate: units of the RTP timestamp a second.

    Attributes:
        stats: see `JitterStats`.
        delay: what is known about the network.
        pause: in a pause, what the packet that announced it held, or None.
        gap_units: after a gap, how long it is at most, in units of the timestamp.
        surplus: seconds that playout is behind the target, negative before it; whoever plays leaves out a
            frame, or repeats one, where that is not heard.

    """

    __slots__ = (
        "_clock_rate",
        "_doubtful",
        "_flowing",
        "_frame_units",
        "_held",
        "_high",
        "_newest",
        "_next",
        "_place",
        "_received",
        "_ssrc",
        "_suspect",
        "_transit",
        "delay",
        "gap_units",
        "pause",
        "stats",
        "surplus",
    )

    def __init__(self, clock_rate: int) -> None:
        self.stats = JitterStats()
        self.delay = NetworkDelay()
        self.pause: T | None = None
        self.surplus = 0.0
        self._clock_rate = clock_rate
        self._frame_units = self.gap_units = round(clock_rate * FRAME_SECONDS)
        self._ssrc: int | None = None
        self._suspect = -1
        self._held: dict[int, tuple[int, int, T]] = {}
        self._flowing = False
        # Sequence numbers and timestamps are extended beyond their wrap.
        self._high = self._next = self._received = 0
        self._newest = self._place = 0
        self._transit: float | None = None
        self._doubtful = 0

    def put(self, sequence: int, timestamp: int, ssrc: int, units: int, item: T, now: float) -> None:
        """Take a packet.

        units: its length by the timestamp; 0 for one that announces a pause (comfort noise, a key).
        """
        if ssrc != self._ssrc:
            self._restart(sequence, timestamp, ssrc)
        step = (sequence - self._high + 0x8000 & 0xFFFF) - 0x8000
        if not -MAX_LATE <= step <= MAX_AHEAD:
            if sequence != self._suspect:  # RFC 3550 A.1: two in sequence prove a restart
                self._suspect = sequence + 1 & 0xFFFF
                self.stats.late += 1
                return
            self._restart(sequence, timestamp, ssrc)
            step = 0
        place = self._high + step
        if step > 0:
            self._high = place
            self._received = (self._received << step | 1) & _RECEIVED
        elif self._received >> -step & 1:
            self.stats.duplicates += 1
            return
        else:
            self._received |= 1 << -step
        time = self._newest + ((timestamp - self._newest + 0x80000000 & 0xFFFFFFFF) - 0x80000000)
        if units:
            transit = now - time / self._clock_rate
            if self._transit is not None and abs(transit - self._transit) > REBASED:
                self._restart(sequence, timestamp, ssrc)
                self._received = 1
                place, time, transit = self._high, self._newest, now - self._newest / self._clock_rate
            self._transit = transit
            if time > self._newest:
                self._newest = time
            self.delay.note(transit, now)
        if place < self._next or (units and self._flowing and time + units <= self._place):
            self.stats.late += 1 if units else 0
            return
        self._held[place] = time, units, item
        if len(self._held) > MAX_HELD:
            self.stats.skipped += 1
            del self._held[min(self._held)]

    def take(self, now: float) -> T | Gap:
        """What to play in this frame; asked every 20 ms, and again where a packet holds less than that."""
        if not self._flowing:
            return self._wait(now)
        self.surplus = now - self._place / self._clock_rate - self.delay.fastest - self.delay.target
        if self.surplus > HOPELESS:
            self._catch_up()
        held, place = self._held, self._next
        follows = place in held
        if not follows:
            if not held:
                return self._nothing()
            place = min(held)
        time, units, item = held[place]
        gap = time - self._place
        if self._doubtful:
            gap = self._settle(gap, follows)
        if units == 0:
            return self._begin_pause(now)
        if gap <= self._frame_units // 2:
            del held[place]
            self._next = place + 1
            self._place = time + units
            self.stats.played += 1
            return item
        if follows:
            return self._begin_pause(now)
        self.gap_units = min(gap, self._frame_units)
        self._place += self.gap_units
        self.stats.concealed += 1
        return Gap.LOST

    def _wait(self, now: float) -> T | Gap:
        """In a pause: see whether the next audio has aged enough."""
        while self._held:
            place = min(self._held)
            time, units, item = self._held[place]
            if units == 0:
                del self._held[place]
                self._next = place + 1
                self.pause = item
                continue
            due = time / self._clock_rate + self.delay.fastest + self.delay.target
            if now + TIMER_GRAIN < due:
                break
            self._settle(time - self._place, place == self._next)
            del self._held[place]
            self._flowing = True
            self._next = place + 1
            self._place = time + units
            self.pause = None
            self.stats.played += 1
            return item
        self.gap_units = self._frame_units
        return Gap.PAUSE

    def _nothing(self) -> T | Gap:
        self._doubtful += 1
        if self._doubtful * FRAME_SECONDS >= GIVEN_UP:
            self._flowing = False
            self.pause = None
            self.surplus = 0.0
        self.gap_units = self._frame_units
        return Gap.EMPTY

    def _begin_pause(self, now: float) -> T | Gap:
        self._flowing = False
        self.pause = None
        self.surplus = 0.0
        return self._wait(now)

    def _settle(self, gap: int, follows: bool) -> int:
        """Now it shows what was missing while nothing was at hand; returns the gap that is left."""
        if not self._doubtful:
            return gap
        if not follows:
            self.stats.concealed += self._doubtful
        elif gap <= 0:
            self.stats.concealed += self._doubtful
            self.stats.underruns += self._doubtful
        filled = min(max(gap, 0), self._doubtful * self._frame_units)
        self._place += filled
        self._doubtful = 0
        return gap - filled

    def _catch_up(self) -> None:
        """Leave out what is too old to be worth hearing."""
        keep_from = self._place + int(self.surplus * self._clock_rate)
        for place in sorted(self._held)[:-1]:
            time, units, _ = self._held[place]
            if time + units > keep_from:
                break
            del self._held[place]
            self._next = place + 1
            self._place = max(self._place, time + units)
            self.stats.skipped += 1

    def _restart(self, sequence: int, timestamp: int, ssrc: int) -> None:
        """Another source, or the same with other numbers; what is held of the old one is of no more use."""
        if self._ssrc is not None:
            self.stats.restarts += 1
        self._ssrc = ssrc
        self._suspect = -1
        self._held.clear()
        self._flowing = False
        self.pause = None
        self._high = 0x10000 + sequence
        self._next = self._high - MAX_LATE
        self._received = 0
        self._newest = self._place = timestamp
        self._transit = None
        self._doubtful = 0
        self.delay.restart()

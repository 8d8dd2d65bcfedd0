"""What an agent says, between the chunks in which it comes and the frames in which it leaves.

Agents send audio in chunks of any length at any beat: a speech model's output all at once, a framework's 320,
758 or 1,100 bytes every 40 to 160 ms. Here it becomes frames of 20 ms. An utterance is held back for a moment
(prefill), so that a late chunk tears no hole; how long is learned from the agent's own beat.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gateway.media.codecs import FRAMES_PER_SECOND, AudioCodec

PREFILL = 0.16
"""Seconds an agent's first utterances are held back: the slowest beat of the common frameworks."""

LEAST_PREFILL = 0.04
"""Seconds that even the steadiest agent's audio is held back: two frames."""

MOST_PREFILL = 0.4
"""Seconds after which waiting harms a conversation more than a hole does."""

REMEMBERED = 4
"""Utterances whose unsteadiness decides about the next one's prefill."""

HOLE = 0.3
"""Seconds: audio that comes within this time after the last was played out belongs to the same utterance, and
came too late; after a longer time the agent had paused."""

MAX_QUEUED = 120
"""Seconds of audio kept for an agent that sends faster than it speaks: a long answer, and 1 MB of G.711.
Beyond it audio is dropped, so that a flood neither fills memory nor stands before a `clear`."""

MAX_MARKS = 1000
"""Marks that wait for their audio: eight a second in a full buffer. Further ones are refused."""

FRAME_SECONDS = 1 / FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was in the buffer when it was emptied.

    marks: those that had not been reached, in order.
    played: samples sent so far, from the beginning of the session, at the codec's sampling rate.
    dropped: samples that will not be sent.
    """

    marks: tuple[str, ...]
    played: int
    dropped: int


class PlayoutBuffer:
    """Takes chunks, gives frames. Pure: times are seconds of any clock, the same one throughout.

    Args:
        codec: of the audio; its frames have a fixed length.
        prefill: seconds an utterance is held back at first.
        adaptive: whether that follows the agent's beat.

    Attributes:
        on_mark: called with a mark's name when the audio before it has been sent.
        starved: how often audio came too late and left a hole.
        overflowed: bytes dropped since the buffer was full.

    """

    __slots__ = (
        "_adaptive",
        "_began",
        "_codec",
        "_dry_since",
        "_flowing",
        "_frame_bytes",
        "_marks",
        "_needs",
        "_pushed",
        "_pushed_before",
        "_queue",
        "_taken",
        "_unsteady",
        "on_mark",
        "overflowed",
        "prefill",
        "starved",
    )

    def __init__(self, codec: AudioCodec, prefill: float = PREFILL, *, adaptive: bool = True) -> None:
        if codec.frame_bytes is None:
            raise ValueError(f"{codec.name} has no frames of a fixed length")
        self.on_mark: Callable[[str], None] = _ignore
        self.prefill = prefill
        self.starved = 0
        self.overflowed = 0
        self._codec = codec
        self._frame_bytes = codec.frame_bytes
        self._adaptive = adaptive
        self._queue = bytearray()
        self._marks: deque[tuple[int, str]] = deque()
        self._pushed = self._taken = 0
        self._flowing = False
        self._began = 0.0  # of the utterance
        self._pushed_before = 0
        self._unsteady = 0.0
        self._dry_since: float | None = None
        self._needs: deque[float] = deque([prefill - LEAST_PREFILL] * REMEMBERED, REMEMBERED)

    @property
    def queued(self) -> int:
        """Samples that wait."""
        return self._samples(len(self._queue))

    @property
    def pushed(self) -> int:
        """Samples taken in since the beginning, without those that were dropped."""
        return self._samples(self._pushed)

    @property
    def played(self) -> int:
        """Samples given out since the beginning, without padding."""
        return self._samples(self._taken)

    def push(self, audio: bytes, now: float) -> int:
        """Take a chunk of any length; the number of bytes that found no room."""
        if not audio:
            return 0
        room = MAX_QUEUED * FRAMES_PER_SECOND * self._frame_bytes - len(self._queue)
        if not self._queue and not self._flowing:
            self._begin(now)
        elif self._adaptive:
            behind = now - self._began - self._seconds(self._pushed - self._pushed_before)
            self._unsteady = max(self._unsteady, behind)
        taken = audio if len(audio) <= room else audio[:room]
        self._queue += taken
        self._pushed += len(taken)
        self.overflowed += len(audio) - len(taken)
        return len(audio) - len(taken)

    def mark(self, name: str) -> bool:
        """Report when everything pushed so far has been sent: at once if it has. False: too many wait."""
        if not self._queue:
            self.on_mark(name)
            return True
        if len(self._marks) >= MAX_MARKS:
            return False
        self._marks.append((self._pushed, name))
        return True

    def clear(self) -> Cleared:
        """Drop everything that waits, at once whatever its length."""
        marks = tuple(name for _, name in self._marks)
        dropped = len(self._queue)
        self._marks.clear()
        self._queue = bytearray()
        self._pushed = self._taken
        self._flowing = False
        self._dry_since = None
        return Cleared(marks, self._samples(self._taken), self._samples(dropped))

    def take(self, now: float) -> bytes | None:
        """The frame to send now, its tail padded with silence; None when there is nothing to say."""
        queue, size = self._queue, self._frame_bytes
        if not queue:
            if self._flowing:
                self._flowing = False
                self._dry_since = now
            return None
        if not self._flowing:
            if self._seconds(len(queue)) < self.prefill and now - self._began < self.prefill:
                return None
            self._flowing = True
        frame = bytes(queue[:size])
        del queue[:size]
        self._taken += len(frame)
        return frame if len(frame) == size else frame + self._codec.silence[len(frame) :]

    def sent(self) -> None:
        """The frame last taken is on its way: marks behind it are reached."""
        while self._marks and self._marks[0][0] <= self._taken:
            self.on_mark(self._marks.popleft()[1])

    def _begin(self, now: float) -> None:
        """A new utterance, or the rest of one in which a chunk came too late."""
        if self._adaptive and self._dry_since is not None:
            late = now - self._dry_since
            if late < HOLE:
                self.starved += 1
                self._unsteady = max(self._unsteady, self.prefill + late)
            self._needs.append(self._unsteady)
            self.prefill = min(max(max(self._needs) + LEAST_PREFILL, LEAST_PREFILL), MOST_PREFILL)
        self._began = now
        self._pushed_before = self._pushed
        self._unsteady = 0.0

    def _seconds(self, count: int) -> float:
        return count / self._frame_bytes * FRAME_SECONDS

    def _samples(self, count: int) -> int:
        return count * self._codec.sample_rate // (FRAMES_PER_SECOND * self._frame_bytes)


def _ignore(name: str) -> None:
    """What becomes of marks nobody asked about."""

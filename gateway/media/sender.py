"""From encoded frames to paced RTP: a queue of playbacks, one packet every 20 ms while there is any.

Under the queue there may be a live source, asked for a frame whenever nothing plays.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from gateway.media.beat import AT_REST, beat_of
from gateway.media.dtmf import event_payloads
from gateway.media.g711 import FRAME_SAMPLES, FRAME_SECONDS
from gateway.media.pacer import MAX_BURST, Pacer
from gateway.media.rtp import pack

DTMF_PAUSE = 3
"""Frames of silence after a key: 60 ms, above the 40 ms that detectors ask for (ITU-T Q.24)."""


@dataclass(slots=True)
class _Playback:
    """Payloads, one a frame time; among events an empty one is a pause, and ends the event before it."""

    payloads: Iterator[bytes]
    done: asyncio.Future[bool]
    event_payload_type: int | None = None
    event_timestamp: int | None = None


class AudioSender:
    """Sends one stream; see `AudioSession` for the public face of it.

    Args:
        send: where packets go.
        payload_type: of the audio; `dtmf_payload_type`: of telephone-event, or None.
        silence: a frame sent between playbacks, or None to send nothing then.
        live: asked for a frame when nothing plays, before silence is sent; None of it: nothing to say.
        frame_units: of the RTP timestamp in 20 ms of the codec.
        on_beat: called once each frame time, after sending.
        random_bits: where SSRC, first sequence number and first timestamp come from (RFC 3550 §5.1).

    """

    __slots__ = (
        "_base",
        "_beat",
        "_closed",
        "_frame_units",
        "_live",
        "_loop",
        "_on_beat",
        "_pacer",
        "_queue",
        "_send",
        "_sequence",
        "_silence",
        "_spurt",
        "_ssrc",
        "_stall",
        "_wakes",
        "dtmf_payload_type",
        "payload_type",
    )

    def __init__(
        self,
        send: Callable[[bytes], None],
        payload_type: int,
        dtmf_payload_type: int | None = None,
        *,
        silence: bytes | None = None,
        live: Callable[[], bytes | None] | None = None,
        frame_units: int = FRAME_SAMPLES,
        on_beat: Callable[[], None] | None = None,
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self.payload_type = payload_type
        self.dtmf_payload_type = dtmf_payload_type
        self._send = send
        self._silence = silence
        self._live = live
        self._frame_units = frame_units
        self._on_beat = on_beat
        self._ssrc = random_bits(32)
        self._sequence = random_bits(16)
        self._base = random_bits(32)
        self._loop = asyncio.get_running_loop()
        self._pacer: Pacer | None = None
        self._queue: deque[_Playback] = deque()
        self._spurt = False
        self._closed = False
        self._beat = beat_of(self._loop)
        self._wakes = False  # whether a deadline is waited for, or a stall gone through
        self._stall: asyncio.Handle | None = None

    @property
    def underruns(self) -> int:
        """Frames that went out at least 20 ms late."""
        return self._pacer.underruns if self._pacer else 0

    def start(self, phase: float = 0.0) -> None:
        """Start the clock without anything to play; the first frame time is in `phase` seconds.

        Streams that start together should not share their deadlines: the last of them would be late.
        """
        if self._pacer is None:
            self._pacer = Pacer(self._loop.time() + phase)
            self._spurt = self._wakes = True
            self._beat.wake(self._pacer.deadline, self._wake)

    def play(self, payloads: Iterable[bytes]) -> asyncio.Future[bool]:
        """Queue frames; the first goes out at once if nothing else is playing."""
        return self._enqueue(_Playback(iter(payloads), self._loop.create_future()))

    def play_digits(self, digits: str) -> asyncio.Future[bool]:
        """Queue telephone events, one key after another.

        Raises:
            ValueError: telephone events were not negotiated, or a character is no key.

        """
        if self.dtmf_payload_type is None:
            raise ValueError("the peer did not negotiate telephone-event")
        units = self._frame_units
        presses = [[*event_payloads(digit, units=units), *[b""] * DTMF_PAUSE] for digit in digits]
        events = chain.from_iterable(presses)
        return self._enqueue(_Playback(events, self._loop.create_future(), self.dtmf_payload_type))

    def stop(self) -> None:
        """Drop what is playing and what is queued."""
        while self._queue:
            self._finish(completed=False)

    def close(self) -> None:
        """Stop, and send nothing any more."""
        self._closed = True
        self.stop()
        if self._wakes:
            self._wakes = False
            self._beat.forget(self._wake)
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _enqueue(self, playback: _Playback) -> asyncio.Future[bool]:
        self._queue.append(playback)
        if not self._wakes and not self._closed:
            now = self._loop.time()
            if self._pacer is None:
                self._pacer = Pacer(now)
            self._pacer.resume(now)
            self._spurt = True
            self._begin(now)
        return playback.done

    def _begin(self, now: float) -> None:
        """Send what is due, and be woken for the rest."""
        self._wakes = True
        deadline = self._wake(now)
        if deadline > AT_REST:
            self._beat.wake(deadline, self._wake)

    def _wake(self, now: float) -> float:
        """Send every frame that is due; when the next one is, or `AT_REST` if nothing is left."""
        pacer = self._pacer
        if pacer is None or self._closed:
            return AT_REST
        if now - pacer.deadline >= FRAME_SECONDS and self._on_beat is not None:
            self._wait_out(pacer, 0)
            return AT_REST
        return self._send_due(pacer, now)

    def _wait_out(self, pacer: Pacer, turns: int) -> None:
        """After a stall let the loop turn some times, then send what is late.

        Before late beats hear anything, the packets that have come meanwhile are to be read, one a turn, or
        they would be missing for no reason.
        """
        self._stall = None
        now = self._loop.time()
        if turns < min(pacer.frames_late(now), MAX_BURST):
            self._stall = self._loop.call_soon(self._wait_out, pacer, turns + 1)
            return
        deadline = self._send_due(pacer, now)
        if deadline > AT_REST:
            self._beat.wake(deadline, self._wake)

    def _send_due(self, pacer: Pacer, now: float) -> float:
        """See `_wake`."""
        if now - pacer.deadline >= FRAME_SECONDS and pacer.give_up_late(now):
            self._spurt = True
        try:
            while pacer.due(now) and not self._closed:
                if not self._send_next(pacer.number):
                    self._wakes = False
                    return AT_REST
                pacer.sent(now)
        except BaseException:  # of whoever listens to the beat: the loop reports it, the beat goes on
            pacer.sent(now)
            if not self._closed:
                self._beat.wake(pacer.deadline, self._wake)
            raise
        return AT_REST if self._closed else pacer.deadline

    def _send_next(self, number: int) -> bool:
        """Send the packet of this frame time; False when nothing is left to play."""
        timestamp = self._base + number * self._frame_units & 0xFFFFFFFF
        playback, payload = self._next_payload() if self._queue else (None, None)
        if playback is not None and playback.event_payload_type is not None:
            if payload:
                self._send_event(playback, playback.event_payload_type, timestamp, payload)
                if self._on_beat is not None:
                    self._on_beat()
                return True
            playback.event_timestamp = payload = None
        if not payload and self._live is not None:
            payload = self._live()
        payload = payload or self._silence
        if payload is not None:
            self._send_packet(self.payload_type, timestamp, payload, marker=self._spurt)
        self._spurt = payload is None
        if self._on_beat is not None:
            self._on_beat()
        return payload is not None or playback is not None or self._on_beat is not None

    def _next_payload(self) -> tuple[_Playback | None, bytes | None]:
        """The first playback that has something left; those before it are finished."""
        while self._queue:
            playback = self._queue[0]
            payload = None if playback.done.cancelled() else next(playback.payloads, None)
            if payload is not None:
                return playback, payload
            self._finish(completed=True)
        return None, None

    def _send_event(self, playback: _Playback, payload_type: int, timestamp: int, payload: bytes) -> None:
        """All packets of one event carry the timestamp of its beginning (RFC 4733 §2.5.1.2)."""
        begins = playback.event_timestamp is None
        if playback.event_timestamp is None:
            playback.event_timestamp = timestamp
        self._send_packet(payload_type, playback.event_timestamp, payload, marker=begins)
        self._spurt = True

    def _send_packet(self, payload_type: int, timestamp: int, payload: bytes, *, marker: bool) -> None:
        self._send(pack(payload_type, self._sequence, timestamp, self._ssrc, payload, marker=marker))
        self._sequence = self._sequence + 1 & 0xFFFF

    def _finish(self, *, completed: bool) -> None:
        done = self._queue.popleft().done
        if not done.done():
            done.set_result(completed)

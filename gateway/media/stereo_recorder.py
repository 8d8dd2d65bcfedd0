"""A whole call on disk: the caller on the left, what the caller heard on the right, in one time.

Both channels are written by time, not one packet after another: what did not come is silence, what came late
has its place, and nothing has to be waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from gateway.media.codecs import G722, LINEAR, PCMA, PCMU, AudioCodec, Decoder
from gateway.media.disk import Disk
from gateway.media.recorder import Recorder, Recording
from gateway.media.rtp import RtpError, RtpPacket
from gateway.media.timeline import Timeline

BEAT_SECONDS = 0.5
"""Between two looks at what has become old enough to be written."""

HOLD_SECONDS = 0.3
"""That audio may be late, by jitter or in the wrong order, and still finds its place."""

MAX_SECONDS_HELD = 2
"""Of audio in memory: hold and beat, a second that timestamps may be ahead of us, and a beat that is late.
64 kB of stereo at 8 kHz."""

MAX_CODERS = 8
"""Decoders for one direction: those of the codecs in a session description. Further ones begin anew."""

Side = Literal["caller", "agent"]
CHANNELS: Mapping[Side, int] = {"caller": 0, "agent": 1}

STATIC: Mapping[int, AudioCodec] = {0: PCMU, 8: PCMA, 9: G722}
"""Payload types that mean the same in every session (RFC 3551 §6)."""


class StereoRecorder:
    """Writes a call into a WAV file that can be played at any moment.

    Args:
        path: a new file.
        codec_of: the codec of a payload type that one side sends; None for what is no audio (DTMF, comfort
            noise), which is silence here.
        clock: seconds. The recording begins now.
        rate: of the file, Hz: 8000, or 16000 for wideband.
        max_seconds: of the whole.
        min_free, on_error, disk: see `Recorder`.
        phase: seconds by which the first beat is early: recordings that start together should not share it.

    """

    __slots__ = (
        "_began",
        "_clock",
        "_codec_of",
        "_decoders",
        "_ends",
        "_held",
        "_loop",
        "_rate",
        "_recorder",
        "_taken",
        "_timelines",
        "_timer",
    )

    def __init__(
        self,
        path: Path,
        codec_of: Callable[[Side, int], AudioCodec | None],
        *,
        clock: Callable[[], float],
        rate: int = 8000,
        max_seconds: float,
        min_free: int = 0,
        on_error: Callable[[OSError], None] = lambda error: None,
        disk: Disk | None = None,
        phase: float = 0.0,
    ) -> None:
        self._codec_of = codec_of
        self._clock = clock
        self._began = clock()
        self._rate = rate
        self._recorder = Recorder(
            path,
            max_seconds=max_seconds,
            form=LINEAR[rate],
            channels=2,
            min_free=min_free,
            on_error=on_error,
            disk=disk,
        )
        self._held: npt.NDArray[np.int16] = np.zeros((round(MAX_SECONDS_HELD * rate), 2), "<i2")
        self._taken = 0
        self._ends = [0, 0]
        self._timelines = {side: Timeline(rate) for side in CHANNELS}
        self._decoders: dict[tuple[Side, int], tuple[int, Decoder]] = {}
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(BEAT_SECONDS - phase, self._beat)

    def hear(self, side: Side, packet: bytes) -> None:
        """Take one RTP packet of a side. Never blocks, never raises; what is no audio is ignored."""
        if self._recorder.failed:
            return
        try:
            rtp = RtpPacket.parse(packet)
        except RtpError:
            return
        codec = STATIC.get(rtp.payload_type) or self._codec_of(side, rtp.payload_type)
        if codec is None:
            return
        pcm = self._decoder(side, rtp, codec).decode(rtp.payload)
        if pcm:
            now = self._clock() - self._began
            at = self._timelines[side].place(rtp.ssrc, rtp.timestamp, codec.clock_rate, now)
            self._write(CHANNELS[side], at - self._taken, np.frombuffer(pcm, "<i2", len(pcm) // 2))

    async def close(self) -> Recording:
        """Write what is left, up to now, and close the file. Idempotent."""
        if not self._timer.cancelled():
            self._timer.cancel()
            self._take(round((self._clock() - self._began) * self._rate))
        return await self._recorder.close()

    def _decoder(self, side: Side, rtp: RtpPacket, codec: AudioCodec) -> Decoder:
        """Of this payload type, with the memory of this source."""
        known = self._decoders.get((side, rtp.payload_type))
        if known is not None and known[0] == rtp.ssrc:
            return known[1]
        if len(self._decoders) >= 2 * MAX_CODERS:
            self._decoders.clear()
        decoder = codec.decoder(self._rate)
        self._decoders[side, rtp.payload_type] = rtp.ssrc, decoder
        return decoder

    def _write(self, channel: int, at: int, samples: npt.NDArray[np.int16]) -> None:
        """Put samples where they belong, so far as that is not written already, or too far ahead."""
        if at < 0:
            samples, at = samples[-at:], 0
        held = self._held[at : at + len(samples), channel]
        held[:] = samples[: len(held)]
        if self._taken + at == self._ends[channel] + 1 and at > 1:
            # the timeline moved by a sample: what came before it goes on, so that nothing clicks
            self._held[at - 1, channel] = self._held[at - 2, channel]
        self._ends[channel] = self._taken + at + len(held)

    def _beat(self) -> None:
        self._timer = self._loop.call_later(BEAT_SECONDS, self._beat)
        self._take(round((self._clock() - self._began - HOLD_SECONDS) * self._rate))

    def _take(self, until: int) -> None:
        """Hand what lies before `until` to the disk."""
        held = self._held
        while (count := min(until - self._taken, len(held))) > 0 and not self._recorder.failed:
            self._recorder.write(held[:count].tobytes())
            held[: len(held) - count] = held[count:]
            held[len(held) - count :] = 0
            self._taken += count

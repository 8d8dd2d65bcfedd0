"""What a live listener hears of a peer: a frame in every beat, whatever the network brings.

Ties together the jitter buffer, the decoders, concealment and comfort noise. Where the listener takes G.711
and the peer sends it, payloads go through as they are (from one law to the other by a table); only around a
gap is anything decoded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from gateway.media import comfort_noise
from gateway.media.codecs import PCMA, PCMU, AudioCodec, Decoder, pcm_frame_bytes
from gateway.media.comfort_noise import NoiseSource, announced_level, rms
from gateway.media.concealment import HISTORY_FRAMES, Concealer
from gateway.media.g711 import LOUDNESS, LOUDNESS_STEP
from gateway.media.jitter_buffer import FRAME_SECONDS, Gap, JitterBuffer, JitterStats
from gateway.media.loudness import byte_sum
from gateway.media.network_delay import MARGIN
from gateway.media.rtp import RtpPacket
from gateway.media.transcoder import FrameConverter, converter
from gateway.media.voice_activity import QUIETEST_VOICE, mean_magnitude

EXCESS = 1.5 * FRAME_SECONDS
"""Seconds behind the target at which one quiet frame is left out."""

LOUD_EXCESS = 4 * FRAME_SECONDS
"""Seconds behind the target at which frames are left out even while somebody speaks."""

TOO_CLOSE = -MARGIN
"""Seconds before the target at which a frame is put in: now the slowest packets come too late."""

LOUD_BEATS = 5
"""Frames between two that are left out or put in while somebody speaks."""

EVENT = -1
"""Stands for a noise level where a key is pressed: the peer sends no audio meanwhile."""

Piece = tuple[AudioCodec, bytes]


class Playout:
    """One received stream, for one listener.

    Args:
        codecs: by payload type; those whose clock is not `clock_rate` are not heard.
        clock_rate: of the negotiated codec.
        form: of the frames that are given out; its frames have a fixed length.

    """

    __slots__ = (
        "_buffer",
        "_clock_rate",
        "_codecs",
        "_concealer",
        "_decoders",
        "_direct",
        "_direct_size",
        "_encoder",
        "_form",
        "_form_decoder",
        "_history",
        "_loud_beats",
        "_loudness",
        "_noise",
        "_pcm_size",
        "_pending",
        "_rate",
        "_raw",
    )

    def __init__(self, codecs: Mapping[int, AudioCodec], clock_rate: int, form: AudioCodec) -> None:
        if form.frame_bytes is None:
            raise ValueError(f"{form.name} has no frames of a fixed length")
        self._clock_rate = clock_rate
        self._form = form
        self._rate = rate = form.sample_rate
        self._codecs = {number: codec for number, codec in codecs.items() if codec.clock_rate == clock_rate}
        self._direct: dict[AudioCodec, FrameConverter] = {
            codec: converter(codec, form) for codec in self._codecs.values() if _direct(codec, form)
        }
        self._direct_size = form.frame_bytes
        self._pcm_size = pcm_frame_bytes(rate)
        self._decoders: dict[AudioCodec, Decoder] = {}
        self._encoder = form.encoder(rate)
        self._form_decoder = form.decoder(rate)
        self._buffer: JitterBuffer[Piece | int] = JitterBuffer(clock_rate)
        self._noise = NoiseSource()
        self._concealer: Concealer | None = None
        self._loudness = LOUDNESS.get(form.name)
        self._raw = False  # whether pieces are in `form` (direct) or PCM16
        self._pending = bytearray()
        self._history: deque[bytes] = deque(maxlen=HISTORY_FRAMES)
        self._loud_beats = 0

    @property
    def stats(self) -> JitterStats:
        """What happened to the stream so far."""
        return self._buffer.stats

    @property
    def target(self) -> float:
        """Seconds that the buffer delays by at the moment, beyond the fastest packet's way."""
        return self._buffer.delay.target

    def receive(self, packet: RtpPacket, now: float) -> None:
        """Take a packet of audio or comfort noise; other types only count as received."""
        self.hear(packet.payload_type, packet.sequence, packet.timestamp, packet.ssrc, packet.payload, now)

    def hear(
        self, payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, now: float
    ) -> None:
        """As `receive`; arguments as the fields of a packet, which need not be made."""
        codec = self._codecs.get(payload_type)
        if codec is not None:
            units = codec.units(payload)
            item: Piece | int = (codec, payload)
        else:
            units = 0
            noise = payload_type == comfort_noise.PAYLOAD_TYPE
            item = announced_level(payload) if noise else EVENT
        self._buffer.put(sequence, timestamp, ssrc, units, item, now)

    def frame(self, now: float) -> bytes:
        """The frame of this beat."""
        if self._pending:
            piece = self._repacketised(b"", now)
        else:
            close = self._buffer.surplus < TOO_CLOSE and self._may_change()
            piece = self._stretching() if close else self._piece(now)
            if len(piece) != (self._direct_size if self._raw else self._pcm_size):
                piece = self._repacketised(piece, now)
        self._history.append(piece)
        return piece if self._raw else self._encoder.encode(piece)

    def _repacketised(self, piece: bytes, now: float) -> bytes:
        """Packets of another length than 20 ms: collect a frame, keep the rest for the next one."""
        pending, raw = self._pending, self._raw
        while True:
            pending += piece
            size = self._direct_size if self._raw else self._pcm_size
            if len(pending) >= size:
                break
            piece = self._piece(now)
            if self._raw != raw:
                raw = self._raw
                pending.clear()
        frame = bytes(pending[:size])
        del pending[:size]
        return frame

    def _piece(self, now: float) -> bytes:
        """The next audio, or what stands for it; never empty."""
        taken = self._buffer.take(now)
        if not isinstance(taken, tuple):
            return self._filling(taken) if isinstance(taken, Gap) else self._filling(Gap.LOST)
        piece = self._decoded(taken)
        if not piece:
            return self._filling(Gap.LOST)
        if self._concealer is not None:
            piece = self._back(self._concealer.blend(self._pcm(piece)))
            self._concealer = None
        self._loud_beats += 1
        if self._buffer.surplus > EXCESS:
            piece = self._shortened(piece, now)
        return piece

    def _may_change(self) -> bool:
        """Whether a change of length is not heard, or may be heard again after the last one."""
        quiet = bool(self._history) and self._is_quiet(self._history[-1])
        return quiet or self._loud_beats >= LOUD_BEATS

    def _stretching(self) -> bytes:
        """Fall back by one frame, made up from the last ones; the next is blended in as after a loss."""
        self._buffer.stats.stretched += 1
        self._buffer.surplus = 0.0  # known anew with the next packet
        self._loud_beats = 0
        return self._filling(Gap.EMPTY)

    def _shortened(self, piece: bytes, now: float) -> bytes:
        """Catch up: two frames become one, where that is hardly heard or much needed."""
        loud = self._buffer.surplus > LOUD_EXCESS and self._loud_beats >= LOUD_BEATS
        if not loud and not self._is_quiet(piece):
            return piece
        raw = self._raw
        taken = self._buffer.take(now)
        if not isinstance(taken, tuple):
            return piece
        self._loud_beats = 0
        self._buffer.stats.skipped += 1
        following = self._decoded(taken)
        if self._raw != raw or len(following) != len(piece):
            return following or piece
        first = np.frombuffer(self._pcm(piece), "<i2").astype(np.float32)
        second = np.frombuffer(self._pcm(following), "<i2").astype(np.float32)
        rising = np.linspace(0, 1, len(first), dtype=np.float32)
        return self._back((first * (1 - rising) + second * rising).astype("<i2").tobytes())

    def _filling(self, gap: Gap) -> bytes:
        samples = max(1, self._buffer.gap_units * self._rate // self._clock_rate)
        if gap is Gap.PAUSE:
            self._concealer = None
            level = self._buffer.pause
            if isinstance(level, int) and EVENT < level < comfort_noise.SILENT:
                return self._back(self._noise.samples(samples, rms(level)).astype("<i2").tobytes())
            return self._back(bytes(2 * samples))
        if self._concealer is None:
            past = b"".join(map(self._pcm, self._history)).rjust(2 * self._pcm_size, b"\x00")
            self._concealer = Concealer(past, self._rate, self._noise)
        return self._back(self._concealer.frame(samples))

    def _decoded(self, piece: Piece) -> bytes:
        codec, payload = piece
        direct = self._direct.get(codec)
        if (direct is not None) != self._raw:
            self._raw = direct is not None
            self._history.clear()
            self._pending.clear()
            self._concealer = None
        if direct is not None:
            return direct(payload)
        decoder = self._decoders.get(codec)
        if decoder is None:
            decoder = self._decoders[codec] = codec.decoder(self._rate)
        return decoder.decode(payload)

    def _pcm(self, piece: bytes) -> bytes:
        return self._form_decoder.decode(piece) if self._raw else piece

    def _back(self, pcm: bytes) -> bytes:
        return self._encoder.encode(pcm) if self._raw else pcm

    def _is_quiet(self, piece: bytes) -> bool:
        if self._raw and self._loudness is not None:
            return byte_sum(piece.translate(self._loudness)) * LOUDNESS_STEP < QUIETEST_VOICE * len(piece)
        return mean_magnitude(self._pcm(piece)) < QUIETEST_VOICE


def _direct(codec: AudioCodec, form: AudioCodec) -> bool:
    """Whether payloads become frames of `form` byte by byte, without a memory."""
    return codec.stateless and (codec is form or {codec, form} == {PCMU, PCMA})

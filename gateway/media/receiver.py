"""From RTP packets to audio in real time: in order, each sample in its place, losses as silence."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from gateway.media.dtmf import DtmfReceiver
from gateway.media.g711 import FRAME_BYTES, PCMA, PCMU, SAMPLE_RATE, Codec
from gateway.media.jitter import ReorderBuffer
from gateway.media.rtp import RtpError, RtpPacket, signed32

AudioSink = Callable[[bytes], None]
"""Takes one frame: PCM16 mono 8 kHz, 160 samples (20 ms), 320 bytes."""

MAX_AHEAD = SAMPLE_RATE
"""Samples that received audio may be ahead of the wall clock. It bounds the silence that a forged timestamp
can order up."""


class AudioReceiver:
    """Decodes one peer's stream.

    Both laws are decoded under their static payload types whatever was negotiated: some carriers change
    without a re-INVITE. Comfort noise (payload type 13, RFC 3389) and unknown types are silence.

    Args:
        on_audio: called with each frame, in order.
        on_digit: called with each DTMF key.
        payload_types: codecs by negotiated payload type, beyond the static ones.
        dtmf_payload_type: of telephone-event, or None.
        clock: seconds.

    """

    __slots__ = (
        "_audio",
        "_clock",
        "_codecs",
        "_delivered",
        "_dtmf",
        "_next_timestamp",
        "_reorder",
        "_ssrc",
        "_started",
        "dtmf_payload_type",
        "on_audio",
    )

    def __init__(
        self,
        on_audio: AudioSink,
        on_digit: Callable[[str], None],
        *,
        payload_types: Mapping[int, Codec],
        dtmf_payload_type: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_audio = on_audio
        self.dtmf_payload_type = dtmf_payload_type
        self._codecs = {PCMU.payload_type: PCMU, PCMA.payload_type: PCMA, **payload_types}
        self._dtmf = DtmfReceiver(on_digit)
        self._clock = clock
        self._reorder: ReorderBuffer[tuple[int, bytes]] = ReorderBuffer()
        self._ssrc: int | None = None
        self._next_timestamp: int | None = None
        self._audio = bytearray()
        self._started = 0.0
        self._delivered = 0

    def receive(self, data: bytes) -> None:
        """Take one RTP packet from the wire; anything that is not one is ignored."""
        try:
            packet = RtpPacket.parse(data)
        except RtpError:
            return
        if packet.ssrc != self._ssrc:
            self._change_source(packet.ssrc)
        if packet.payload_type == self.dtmf_payload_type:
            self._dtmf.receive(packet.timestamp, packet.payload)
            pcm = b""
        else:
            codec = self._codecs.get(packet.payload_type)
            pcm = codec.decode(packet.payload) if codec else b""
        for timestamp, samples in self._reorder.push(packet.sequence, (packet.timestamp, pcm)):
            if samples:
                self._place(timestamp, samples)

    def flush(self) -> None:
        """Deliver what is still held back, the last frame filled up with silence; the stream is over."""
        for timestamp, samples in self._reorder.flush():
            if samples:
                self._place(timestamp, samples)
        if self._audio:
            self._deliver(bytes(FRAME_BYTES - len(self._audio)))

    def _change_source(self, ssrc: int) -> None:
        if self._ssrc is None:
            self._started = self._clock()
        self.flush()
        self._dtmf.restart()
        self._ssrc = ssrc
        self._next_timestamp = None

    def _place(self, timestamp: int, pcm: bytes) -> None:
        """Deliver samples at their place in time: silence first where the timestamp shows a gap."""
        if self._next_timestamp is not None:
            gap = signed32(timestamp - self._next_timestamp)
            elapsed = int((self._clock() - self._started) * SAMPLE_RATE)
            gap = min(gap, elapsed + MAX_AHEAD - self._delivered - len(pcm) // 2)
            if gap > 0:
                self._deliver(bytes(2 * gap))
        self._next_timestamp = timestamp + len(pcm) // 2 & 0xFFFFFFFF
        self._deliver(pcm)

    def _deliver(self, pcm: bytes) -> None:
        self._delivered += len(pcm) // 2
        if len(pcm) == FRAME_BYTES and not self._audio:
            self.on_audio(pcm)
            return
        self._audio += pcm
        whole = len(self._audio) - len(self._audio) % FRAME_BYTES
        frames = bytes(self._audio[:whole])
        del self._audio[:whole]
        for at in range(0, whole, FRAME_BYTES):
            self.on_audio(frames[at : at + FRAME_BYTES])

"""From RTP packets to audio in real time: in order, each sample in its place, losses as silence."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from gateway.media.codecs import G722, PCMA, PCMU, AudioCodec, Decoder, pcm_frame_bytes
from gateway.media.dtmf import DtmfReceiver
from gateway.media.g711 import SAMPLE_RATE
from gateway.media.jitter import ReorderBuffer
from gateway.media.rtp import RtpError, RtpPacket, signed32

AudioSink = Callable[[bytes], None]
"""Takes one frame of 20 ms: PCM16 mono, at 8 kHz 160 samples, 320 bytes."""

MAX_AHEAD = SAMPLE_RATE
"""Samples (of 8 kHz) that received audio may be ahead of the wall clock. It bounds the silence that a forged
timestamp can order up."""

STATIC: Mapping[int, AudioCodec] = {
    codec.payload_type: codec for codec in (PCMU, PCMA, G722) if codec.payload_type is not None
}
"""By the payload types that mean the same in every session (RFC 3551 §6)."""


class AudioReceiver:
    """Decodes one peer's stream.

    The codecs with static payload types are decoded whatever was negotiated: some carriers change without a
    re-INVITE. Comfort noise (payload type 13, RFC 3389) and unknown types are silence.

    Args:
        on_audio: called with each frame, in order.
        on_digit: called with each DTMF key.
        payload_types: codecs by negotiated payload type, beyond the static ones.
        dtmf_payload_type: of telephone-event, or None.
        rate: of the PCM that is delivered, Hz.
        clock: seconds.

    """

    __slots__ = (
        "_audio",
        "_clock",
        "_codecs",
        "_decoders",
        "_delivered",
        "_dtmf",
        "_frame_bytes",
        "_next_timestamp",
        "_rate",
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
        payload_types: Mapping[int, AudioCodec],
        dtmf_payload_type: int | None = None,
        rate: int = SAMPLE_RATE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_audio = on_audio
        self.dtmf_payload_type = dtmf_payload_type
        self._codecs = {**STATIC, **payload_types}
        self._decoders: dict[int, Decoder] = {}
        self._rate = rate
        self._frame_bytes = pcm_frame_bytes(rate)
        self._dtmf = DtmfReceiver(on_digit)
        self._clock = clock
        self._reorder: ReorderBuffer[RtpPacket] = ReorderBuffer()
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
        for each in self._reorder.push(packet.sequence, packet):
            self._place(each)

    def flush(self) -> None:
        """Deliver what is still held back, the last frame filled up with silence; the stream is over."""
        for packet in self._reorder.flush():
            self._place(packet)
        if self._audio:
            self._deliver(bytes(self._frame_bytes - len(self._audio)))

    def _change_source(self, ssrc: int) -> None:
        if self._ssrc is None:
            self._started = self._clock()
        self.flush()
        self._decoders.clear()
        self._dtmf.restart()
        self._ssrc = ssrc
        self._next_timestamp = None

    def _place(self, packet: RtpPacket) -> None:
        """Deliver a packet's samples at their place in time: silence first where timestamps show a gap."""
        codec = self._codecs.get(packet.payload_type)
        if codec is None or packet.payload_type == self.dtmf_payload_type:
            return
        pcm = self._decoder(packet.payload_type, codec).decode(packet.payload)
        if not pcm:
            return
        if self._next_timestamp is not None:
            gap = signed32(packet.timestamp - self._next_timestamp) * self._rate // codec.clock_rate
            elapsed = int((self._clock() - self._started) * self._rate)
            ahead = MAX_AHEAD * self._rate // SAMPLE_RATE
            gap = min(gap, elapsed + ahead - self._delivered - len(pcm) // 2)
            if gap > 0:
                self._deliver(bytes(2 * gap))
        self._next_timestamp = packet.timestamp + codec.units(packet.payload) & 0xFFFFFFFF
        self._deliver(pcm)

    def _decoder(self, payload_type: int, codec: AudioCodec) -> Decoder:
        decoder = self._decoders.get(payload_type)
        if decoder is None:
            decoder = self._decoders[payload_type] = codec.decoder(self._rate)
        return decoder

    def _deliver(self, pcm: bytes) -> None:
        size = self._frame_bytes
        self._delivered += len(pcm) // 2
        if len(pcm) == size and not self._audio:
            self.on_audio(pcm)
            return
        self._audio += pcm
        whole = len(self._audio) - len(self._audio) % size
        frames = bytes(self._audio[:whole])
        del self._audio[:whole]
        for at in range(0, whole, size):
            self.on_audio(frames[at : at + size])

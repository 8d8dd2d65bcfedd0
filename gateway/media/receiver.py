"""From RTP packets to audio in real time: in order, each sample in its place, losses as silence."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from gateway.media.codecs import FRAMES_PER_SECOND, G722, LINEAR, PCMA, PCMU, AudioCodec
from gateway.media.dtmf import DtmfReceiver
from gateway.media.g711 import SAMPLE_RATE
from gateway.media.jitter import ReorderBuffer
from gateway.media.rtp import HEADER_BYTES, RtpError, RtpPacket, plain_header, signed32
from gateway.media.transcoder import FrameConverter, converter

AudioSink = Callable[[bytes], None]
"""Takes one frame of 20 ms, in a form agreed on; of PCM16 mono at 8 kHz it has 160 samples, 320 bytes."""

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
        form: of the frames that are delivered: each sample by itself, in one byte or two. With the law of
            G.711 that the peer speaks nothing is decoded.
        clock: seconds.

    """

    __slots__ = (
        "_audio",
        "_clock",
        "_codecs",
        "_converters",
        "_delivered",
        "_dtmf",
        "_form",
        "_frame_bytes",
        "_next_timestamp",
        "_rate",
        "_reorder",
        "_sample_bytes",
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
        form: AudioCodec = LINEAR[SAMPLE_RATE],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if form.frame_bytes is None or not form.stateless:
            raise ValueError(f"{form.name} has no samples that stand by themselves")
        self.on_audio = on_audio
        self.dtmf_payload_type = dtmf_payload_type
        self._codecs = {**STATIC, **payload_types}
        self._converters: dict[int, FrameConverter] = {}
        self._form = form
        self._rate = form.sample_rate
        self._frame_bytes = form.frame_bytes
        self._sample_bytes = form.frame_bytes * FRAMES_PER_SECOND // form.sample_rate
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
        plain = plain_header(data)
        if plain is not None:  # the next of a stream, as nearly all are: no packet is made of it
            payload_type, sequence, timestamp, ssrc = plain
            if ssrc == self._ssrc and self._reorder.takes(sequence):
                payload = data[HEADER_BYTES:]
                if payload_type == self.dtmf_payload_type:
                    self._dtmf.receive(timestamp, payload)
                self._place(payload_type, timestamp, payload)
                return
        try:
            packet = RtpPacket.parse(data)
        except RtpError:
            return
        if packet.ssrc != self._ssrc:
            self._change_source(packet.ssrc)
        if packet.payload_type == self.dtmf_payload_type:
            self._dtmf.receive(packet.timestamp, packet.payload)
        for each in self._reorder.push(packet.sequence, packet):
            self._place(each.payload_type, each.timestamp, each.payload)

    def flush(self) -> None:
        """Deliver what is still held back, the last frame filled up with silence; the stream is over."""
        for packet in self._reorder.flush():
            self._place(packet.payload_type, packet.timestamp, packet.payload)
        if self._audio:
            self._deliver(self._form.silence[len(self._audio) :])

    def _change_source(self, ssrc: int) -> None:
        if self._ssrc is None:
            self._started = self._clock()
        self.flush()
        self._converters.clear()
        self._dtmf.restart()
        self._ssrc = ssrc
        self._next_timestamp = None

    def _place(self, payload_type: int, timestamp: int, payload: bytes) -> None:
        """Deliver a packet's samples at their place in time: silence first where timestamps show a gap."""
        codec = self._codecs.get(payload_type)
        if codec is None or payload_type == self.dtmf_payload_type:
            return
        convert = self._converters.get(payload_type)
        if convert is None:
            convert = self._converters[payload_type] = converter(codec, self._form)
        audio = convert(payload)
        if not audio:
            return
        if self._next_timestamp is not None and timestamp != self._next_timestamp:
            gap = signed32(timestamp - self._next_timestamp) * self._rate // codec.clock_rate
            if gap > 0:
                self._fill(gap, len(audio) // self._sample_bytes)
        self._next_timestamp = timestamp + codec.units(payload) & 0xFFFFFFFF
        self._deliver(audio)

    def _fill(self, gap: int, following: int) -> None:
        """Deliver silence, so far as it is not too far ahead of the wall clock. Both in samples."""
        elapsed = int((self._clock() - self._started) * self._rate)
        ahead = MAX_AHEAD * self._rate // SAMPLE_RATE
        gap = min(gap, elapsed + ahead - self._delivered - following)
        if gap > 0:
            self._deliver(self._form.silence[: self._sample_bytes] * gap)

    def _deliver(self, audio: bytes) -> None:
        size = self._frame_bytes
        self._delivered += len(audio) // self._sample_bytes
        if len(audio) == size and not self._audio:
            self.on_audio(audio)
            return
        self._audio += audio
        whole = len(self._audio) - len(self._audio) % size
        frames = bytes(self._audio[:whole])
        del self._audio[:whole]
        for at in range(0, whole, size):
            self.on_audio(frames[at : at + size])

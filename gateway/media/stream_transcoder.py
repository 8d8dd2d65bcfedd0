"""One direction of a call whose two sides speak different codecs: RTP in, RTP out.

A packet is transcoded when it comes, without waiting for others. What the network did to the stream is shown
to the far end as it was: a lost packet leaves a gap in sequence numbers and timestamps, a pause one in
timestamps, and jitter stays jitter; the receiver's own buffer evens it out once, and conceals what is
missing. Only the order must be right, for coders that remember: where packets did come late, missing ones are
waited for (`gateway.media.patient_order`). What comes in packets of any length leaves in frames of 20 ms;
between the laws of G.711, in packets as they came.

Keys (telephone-event, RFC 4733) go along, with the payload type, the timestamps and the durations of the
other side.
"""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.media.codecs import PCMA, PCMU, AudioCodec, Decoder
from gateway.media.dtmf import LONGEST_SEGMENT
from gateway.media.patient_order import PatientOrder
from gateway.media.rtp import RtpError, RtpPacket, pack, signed32
from gateway.media.transcoder import converter

MAX_GAP_SECONDS = 60.0
"""A jump of the timestamp beyond this, or backwards, is a re-based media clock; time goes on as the wall
clock says. Callers may be silent for long: nobody counts what is passed over here, so the bound costs
nothing."""

MAX_AHEAD_SECONDS = 1.0
"""Audio that may come faster than it plays; the rest of a flood is dropped before anybody decodes it."""

_EVENT = struct.Struct("!BBH")


@dataclass(frozen=True, slots=True)
class SpokenForm:
    """How one side wants its audio.

    codec: see `gateway.media.codecs`; payload_type: of it.
    events: payload type of telephone-event at the codec's clock rate, or None.
    """

    codec: AudioCodec
    payload_type: int
    events: int | None = None


class StreamTranscoder:
    """Takes one side's packets and sends them on as the other side wants them.

    Args:
        codecs: what the source may send, by payload type.
        events: payload types under which it sends keys, with their clock rates.
        target: what the other side wants.
        send: takes each packet for it.
        clock: seconds, for the time between two sources.
        random_bits: source of SSRC, first sequence number and first timestamp.

    """

    __slots__ = (
        "_clock",
        "_codec",
        "_codecs",
        "_convert",
        "_decoder",
        "_encode",
        "_event_clocks",
        "_frame_bytes",
        "_heard_until",
        "_held",
        "_last_at",
        "_marker",
        "_next_timestamp",
        "_order",
        "_random_bits",
        "_send",
        "_sequence",
        "_source",
        "_ssrc",
        "_target",
        "_timestamp",
    )

    def __init__(
        self,
        codecs: Mapping[int, AudioCodec],
        events: Mapping[int, int],
        target: SpokenForm,
        send: Callable[[bytes], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._codecs = dict(codecs)
        self._event_clocks = dict(events)
        self._target = target
        self._send = send
        self._clock = clock
        self._ssrc = random_bits(32)
        self._sequence = random_bits(16)
        self._timestamp = random_bits(32)
        self._encode = target.codec.encoder(target.codec.sample_rate).encode
        self._frame_bytes = 2 * target.codec.sample_rate // 50
        self._codec: AudioCodec | None = None
        self._decoder: Decoder | None = None
        self._convert: Callable[[bytes], bytes] | None = None
        self._held = bytearray()
        self._heard_until = 0.0
        self._source: int | None = None
        self._order: PatientOrder[RtpPacket] = PatientOrder()
        self._next_timestamp = 0
        self._last_at = 0.0
        self._marker = True

    def receive(self, data: bytes) -> None:
        """Take one packet; what is none, or of a payload type that nobody agreed on, is left out.

        Comfort noise (RFC 3389) among it: the other side gets a pause, and makes noise of its own.
        """
        try:
            packet = RtpPacket.parse(data)
        except RtpError:
            return
        if packet.ssrc != self._source or self._order.is_restart(packet.sequence):
            self._begin(packet)
        for missing, each in self._order.push(packet.sequence, packet):
            self._sequence = self._sequence + missing & 0xFFFF  # the far end sees what never came
            self._take(each)

    def _take(self, packet: RtpPacket) -> None:
        """One packet whose turn it is."""
        now = self._clock()
        codec = self._codecs.get(packet.payload_type)
        if codec is not None:
            if self._in_time(codec.units(packet.payload) / codec.clock_rate, now):
                self._transcode(codec, packet)
        elif self._target.events is not None and packet.payload_type in self._event_clocks:
            self._pass_event(packet, self._event_clocks[packet.payload_type], self._target.events)
        self._last_at = now

    def _in_time(self, seconds: float, now: float) -> bool:
        """Whether so much audio may come now: a second ahead of its time, and no more."""
        self._heard_until = max(self._heard_until, now) + seconds
        if self._heard_until - now <= MAX_AHEAD_SECONDS:
            return True
        self._heard_until = now + MAX_AHEAD_SECONDS
        return False

    def _begin(self, packet: RtpPacket) -> None:
        """Another source, or the same one with new numbers: our own stream goes on, and time with it."""
        if self._source is not None:
            self._pass_over(self._held_units() + round((self._clock() - self._last_at) * self._clock_rate))
        self._source = packet.ssrc
        self._order.restart(packet.sequence)
        self._next_timestamp = packet.timestamp
        self._codec = None

    def _transcode(self, codec: AudioCodec, packet: RtpPacket) -> None:
        if codec is not self._codec:
            self._change_codec(codec)
        gap = signed32(packet.timestamp - self._next_timestamp)
        if gap:
            self._follow_gap(gap, codec.clock_rate)
        self._next_timestamp = packet.timestamp + codec.units(packet.payload) & 0xFFFFFFFF
        self._marker = self._marker or packet.marker
        if self._convert is not None:
            self._emit(self._convert(packet.payload), codec.units(packet.payload))
        elif self._decoder is not None:
            self._held += self._decoder.decode(packet.payload)
            size = self._frame_bytes
            while len(self._held) >= size:
                frame = bytes(self._held[:size])
                del self._held[:size]
                self._emit(self._encode(frame), self._target.codec.frame_units)

    def _change_codec(self, codec: AudioCodec) -> None:
        target = self._target.codec
        self._codec = codec
        by_table = codec is target or {codec, target} == {PCMU, PCMA}
        self._convert = converter(codec, target) if by_table else None
        self._decoder = None if by_table else codec.decoder(target.sample_rate)

    def _follow_gap(self, gap: int, clock_rate: int) -> None:
        """The source's timestamp jumped by `gap` of its units."""
        if 0 < gap <= MAX_GAP_SECONDS * clock_rate:
            units = gap * self._clock_rate // clock_rate
        else:
            units = max(0, round((self._clock() - self._last_at) * self._clock_rate))
        self._pass_over(self._held_units() + units)

    def _pass_over(self, units: int) -> None:
        """So much time, in our units, in which nothing is sent."""
        self._held.clear()
        self._timestamp = self._timestamp + units & 0xFFFFFFFF
        self._marker = True

    def _emit(self, payload: bytes, units: int) -> None:
        if payload:
            target = self._target
            self._send_packet(target.payload_type, self._timestamp, payload, marker=self._marker)
            self._marker = False
        self._timestamp = self._timestamp + units & 0xFFFFFFFF

    def _pass_event(self, packet: RtpPacket, clock_rate: int, payload_type: int) -> None:
        """A key: its beginning and its duration in the other clock (RFC 4733 §2.3, §2.5.1.3)."""
        if len(packet.payload) < _EVENT.size:
            return
        event, flags, duration = _EVENT.unpack_from(packet.payload)
        ahead = signed32(packet.timestamp - self._next_timestamp)
        if abs(ahead) > MAX_GAP_SECONDS * clock_rate:
            return
        timestamp = self._timestamp + self._held_units() + ahead * self._clock_rate // clock_rate
        segments, duration = divmod(duration * self._clock_rate // clock_rate, LONGEST_SEGMENT)
        timestamp += segments * LONGEST_SEGMENT
        payload = _EVENT.pack(event, flags, duration)
        self._send_packet(payload_type, timestamp & 0xFFFFFFFF, payload, marker=packet.marker)
        self._marker = True

    def _send_packet(self, payload_type: int, timestamp: int, payload: bytes, *, marker: bool) -> None:
        self._send(pack(payload_type, self._sequence, timestamp, self._ssrc, payload, marker=marker))
        self._sequence = self._sequence + 1 & 0xFFFF

    @property
    def _clock_rate(self) -> int:
        return self._target.codec.clock_rate

    def _held_units(self) -> int:
        """What waits for a whole frame, in units of our timestamps."""
        return len(self._held) // 2 * self._clock_rate // self._target.codec.sample_rate

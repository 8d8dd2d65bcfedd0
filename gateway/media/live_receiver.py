"""Hearing a peer in real time: packets in as they come, one frame out in every beat, and keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.media.codecs import AudioCodec
from gateway.media.dtmf import DtmfReceiver
from gateway.media.jitter_buffer import JitterStats
from gateway.media.key_presses import EVENT, TONE
from gateway.media.playout import Playout
from gateway.media.rtp import HEADER_BYTES, RtpError, RtpPacket, plain_header
from gateway.media.tone_gate import ToneListener


class LiveReceiver:
    """One peer's stream for one live listener.

    Keys are looked for in the audio until the first one comes as an event: from then on the peer's keys do.

    Args:
        codecs: by payload type.
        codec: the negotiated one.
        form: of the frames given out.
        dtmf_payload_type: of telephone-event, or None.
        on_key: called with each report of a key and the way it came (`gateway.media.key_presses`).

    """

    __slots__ = (
        "_events",
        "_on_key",
        "_playout",
        "_ssrc",
        "_tones",
        "dtmf_payload_type",
    )

    def __init__(
        self,
        codecs: Mapping[int, AudioCodec],
        codec: AudioCodec,
        form: AudioCodec,
        dtmf_payload_type: int | None,
        on_key: Callable[[str, str], None],
    ) -> None:
        self.dtmf_payload_type = dtmf_payload_type
        self._on_key = on_key
        self._playout = Playout(codecs, codec.clock_rate, form)
        self._events = DtmfReceiver(self._event)
        self._ssrc: int | None = None
        self._tones: ToneListener | None = ToneListener(form, lambda key: on_key(key, TONE))

    @property
    def stats(self) -> JitterStats:
        """What happened to the stream so far."""
        return self._playout.stats

    @property
    def target(self) -> float:
        """Seconds that the jitter buffer delays by at the moment."""
        return self._playout.target

    def receive(self, data: bytes, now: float) -> None:
        """Take one RTP packet from the wire; anything that is not one is ignored."""
        plain = plain_header(data)
        if plain is not None:
            payload_type, sequence, timestamp, ssrc = plain
            payload = data[HEADER_BYTES:]
        else:
            try:
                payload_type, sequence, timestamp, ssrc, payload, _ = RtpPacket.parse(data)
            except RtpError:
                return
        if payload_type == self.dtmf_payload_type:
            if ssrc != self._ssrc:
                self._events.restart()
                self._ssrc = ssrc
            self._events.receive(timestamp, payload)
        self._playout.hear(payload_type, sequence, timestamp, ssrc, payload, now)

    def frame(self, now: float) -> bytes:
        """The frame of this beat."""
        frame = self._playout.frame(now)
        if self._tones is not None:
            self._tones.hear(frame)
        return frame

    def _event(self, key: str) -> None:
        self._tones = None
        self._on_key(key, EVENT)

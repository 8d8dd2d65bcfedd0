"""A conversation with one peer over one media port: say something, hear something, take and send keys."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Iterator

from gateway.media.codecs import LINEAR, AudioCodec, Encoder, find, pcm_frame_bytes
from gateway.media.g711 import FRAME_SECONDS, SAMPLE_RATE
from gateway.media.jitter_buffer import JitterStats
from gateway.media.key_presses import EVENT, INFO, TONE, KeyPresses
from gateway.media.live_receiver import LiveReceiver
from gateway.media.playout_buffer import PREFILL, Cleared, PlayoutBuffer
from gateway.media.ports import MediaPort
from gateway.media.receiver import STATIC, AudioReceiver, AudioSink
from gateway.media.rtp_port import discard
from gateway.media.sender import AudioSender
from gateway.media.tone_gate import ToneListener
from gateway.media.transcoder import converter


class AudioSession:
    """Terminates a call's audio here (voicemail, agents over WebSocket, demo agent, command-line caller).

    By itself a session speaks when told to and hears when packets come: the media clock starts with the first
    `play`, whose first packet leaves before `play` returns, and from then on packets leave every 20 ms by
    absolute deadlines. A *live* session has a beat of 20 ms from its beginning, for talking with somebody in
    real time: in each beat one frame is sent (what plays, else what was pushed, else silence), and one frame
    of what was heard is given to `on_audio`, through a jitter buffer.

    Frames are 20 ms: PCM16 mono at `rate`, or whatever `form` says.

    Args:
        port: where packets come from and go to; the session owns it.
        codec: what the peer speaks: a value of `gateway.media.codecs`, or its name in SDP.
        payload_type: the one negotiated for it; by default its static one.
        dtmf_payload_type: of telephone-event at the codec's clock rate, or None.
        continuous: send silence whenever nothing plays, once the clock has started. Carriers end calls that
            send them no RTP for some time, for instance while a caller is being recorded.
        rate: of PCM16 on our side, Hz: 8000, 16000 or 24000.
        live: see above; implies `continuous`.
        form: the form of audio that `on_audio` gets and `push` takes: PCM16 at `rate` by default. With the
            codec that the peer speaks nothing is decoded or encoded on the way.
        prefill: seconds that a pushed utterance is held back at first (`gateway.media.playout_buffer`).
        random_bits: source of SSRC and the other starting values, and of the beat's phase.
        clock: seconds, for received audio.

    Attributes:
        codec: what the peer speaks.
        rate: see above.
        form: see above.
        on_audio: assign a callable to get each received frame, in order; lost ones as silence, in a live
            session concealed.
        on_dtmf: assign a callable to get each key (``0``–``9``, ``*``, ``#``, ``A``–``D``), once a press.
        on_mark: assign a callable to get the names of marks that are reached.

    Raises:
        KeyError: an unknown codec.
        ValueError: the payload type of a codec without a static one is missing.

    """

    def __init__(
        self,
        port: MediaPort,
        codec: AudioCodec | str = "PCMU",
        payload_type: int | None = None,
        dtmf_payload_type: int | None = None,
        *,
        continuous: bool = False,
        rate: int = SAMPLE_RATE,
        live: bool = False,
        form: AudioCodec | None = None,
        prefill: float = PREFILL,
        random_bits: Callable[[int], int] = secrets.randbits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.codec = codec = _named(codec) if isinstance(codec, str) else codec
        self.rate = rate
        self.form = form = form or LINEAR[rate]
        self.port = port
        self.on_audio: AudioSink = discard
        self.on_dtmf: Callable[[str], None] = _ignore
        self.on_mark: Callable[[str], None] = _ignore
        payload_type = codec.payload_type if payload_type is None else payload_type
        if payload_type is None:
            raise ValueError(f"{codec.name} has no static payload type")
        self._clock = clock
        self._encoder = codec.encoder(rate)
        self._to_peer = converter(form, codec)
        self._pushed = PlayoutBuffer(form, prefill)
        self._pushed.on_mark = lambda name: self.on_mark(name)
        self._quiet = bytes(pcm_frame_bytes(rate))
        self._keys = KeyPresses()
        self._sender = AudioSender(
            port.send,
            payload_type,
            dtmf_payload_type,
            silence=codec.silence if continuous and codec.stateless else None,
            live=self._next_pushed if live else self._silence if continuous and not codec.stateless else None,
            frame_units=codec.frame_units,
            on_beat=self._beat if live else None,
            random_bits=random_bits,
        )
        codecs = {**STATIC, payload_type: codec}
        self._live: LiveReceiver | None = None
        self._receiver: AudioReceiver | None = None
        if live:
            self._live = LiveReceiver(codecs, codec, form, dtmf_payload_type, self._take_key)
            port.sink = self._receive_live
        else:
            self._receiver = AudioReceiver(
                self._hear,
                lambda key: self._take_key(key, EVENT),
                payload_types=codecs,
                dtmf_payload_type=dtmf_payload_type,
                form=form,
                clock=clock,
            )
            port.sink = self._receiver.receive
        # Who sends keys as events needs no ear for tones; a live receiver decides that for itself.
        listens = not live and dtmf_payload_type is None
        self._tones = ToneListener(form, lambda key: self._take_key(key, TONE)) if listens else None
        self._closed = False
        if live:
            self._sender.start(random_bits(16) / 0x10000 * FRAME_SECONDS)

    @property
    def underruns(self) -> int:
        """Frames that were sent at least 20 ms late, because this process was late."""
        return self._sender.underruns

    @property
    def pushed(self) -> PlayoutBuffer:
        """What was pushed: how much waits, how much was played, how often it starved."""
        return self._pushed

    @property
    def reception(self) -> JitterStats | None:
        """Live session: what became of the packets that came; None otherwise."""
        return self._live.stats if self._live is not None else None

    @property
    def delay(self) -> float:
        """Live session: seconds that the jitter buffer delays by at the moment."""
        return self._live.target if self._live is not None else 0.0

    def play(self, pcm: bytes) -> asyncio.Future[bool]:
        """Play PCM16 mono at `rate` after whatever is queued; each frame is encoded when it is due.

        Returns a future: True when the last frame has been played out, False if it was stopped. No need to
        await it.
        """
        return self._sender.play(_encoding(self._encoder, pcm, pcm_frame_bytes(self.rate)))

    def play_frames(self, frames: Iterable[bytes]) -> asyncio.Future[bool]:
        """Play frames already encoded in this session's codec, 20 ms each; otherwise as `play`."""
        return self._sender.play(frames)

    def push(self, audio: bytes) -> int:
        """Live session: say this after what was pushed before, audio in `form` of any length.

        Returns the number of bytes that found no room, beyond two minutes of audio.
        """
        return self._pushed.push(audio, self._clock())

    def mark(self, name: str) -> bool:
        """Live session: call `on_mark` once everything pushed so far has been sent; False: too many wait."""
        return self._pushed.mark(name)

    def clear(self) -> Cleared:
        """Live session: fall silent with the next frame; drops what was pushed, and tells what that was."""
        return self._pushed.clear()

    def send_dtmf(self, digits: str) -> asyncio.Future[bool]:
        """Press keys, 100 ms each, after whatever is queued.

        Raises:
            ValueError: telephone-event was not negotiated, or a character is no key.

        """
        return self._sender.play_digits(digits)

    def take_info_key(self, key: str) -> None:
        """A key came in a SIP INFO: passed on to `on_dtmf` unless the same press came by RTP as well."""
        self._take_key(key, INFO)

    def stop_playing(self) -> None:
        """Fall silent at once; everything queued is dropped and its future becomes False."""
        self._sender.stop()
        self._pushed.clear()

    def detach(self) -> MediaPort:
        """End the session but keep its port open, for a relay to another leg."""
        self._end()
        return self.port

    def close(self) -> None:
        """End the session and give its port back. Idempotent. Audio still held back is delivered first."""
        self._end()
        self.port.close()

    def _end(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._sender.close()
        self.port.sink = discard
        if self._receiver is not None:
            self._receiver.flush()

    def _next_pushed(self) -> bytes:
        frame = self._pushed.take(self._clock())
        return self._silence() if frame is None else self._to_peer(frame)

    def _silence(self) -> bytes:
        """A frame of it. A codec with a memory has to hear it itself, or the peer's decoder goes astray."""
        return self.codec.silence if self.codec.stateless else self._encoder.encode(self._quiet)

    def _receive_live(self, packet: bytes) -> None:
        if self._live is not None:
            self._live.receive(packet, self._clock())

    def _beat(self) -> None:
        """The other half of a live session's beat: what was sent is sent, now what was heard."""
        self._pushed.sent()
        if self._live is None or self._closed:  # a mark may have ended it
            return
        self.on_audio(self._live.frame(self._clock()))

    def _hear(self, frame: bytes) -> None:
        if self._tones is not None:
            self._tones.hear(frame)
        self.on_audio(frame)

    def _take_key(self, key: str, way: str) -> None:
        if self._keys.is_new(key, way, self._clock()):
            self.on_dtmf(key)


def _named(name: str) -> AudioCodec:
    codec = find(name)
    if codec is None:
        raise KeyError(name)
    return codec


def _encoding(encoder: Encoder, pcm: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(pcm), size):
        frame = pcm[at : at + size]
        yield encoder.encode(frame if len(frame) == size else frame + bytes(size - len(frame)))


def _ignore(name: str) -> None:
    """What a session does with keys and marks that nobody asked for."""

"""A conversation with one peer over one media port: say something, hear something, take and send keys."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Iterator

from gateway.media.g711 import CODECS, FRAME_BYTES, FRAME_SAMPLES, Codec
from gateway.media.ports import MediaPort
from gateway.media.receiver import AudioReceiver, AudioSink
from gateway.media.rtp_port import discard
from gateway.media.sender import AudioSender


class AudioSession:
    """Terminates a call's audio here (voicemail, the demo agent, the command-line caller).

    The media clock starts with the first `play`, whose first packet leaves before `play` returns; from then
    on packets leave every 20 ms by absolute deadlines. Frames are PCM16 mono 8 kHz, 160 samples, 320 bytes.

    Args:
        port: where packets come from and go to; the session owns it.
        codec: ``"PCMU"`` or ``"PCMA"``.
        payload_type: the one negotiated for it; by default its static one.
        dtmf_payload_type: of telephone-event/8000, or None.
        continuous: send silence whenever nothing plays, once the clock has started. Carriers end calls that
            send them no RTP for some time, for instance while a caller is being recorded.
        random_bits: source of SSRC and the other starting values.
        clock: seconds, for received audio.

    Attributes:
        codec: the codec's name.
        on_audio: assign a callable to get each received frame, in order, lost ones as silence.
        on_dtmf: assign a callable to get each key (``0``–``9``, ``*``, ``#``, ``A``–``D``), once a press.

    Raises:
        KeyError: an unknown codec.

    """

    def __init__(
        self,
        port: MediaPort,
        codec: str = "PCMU",
        payload_type: int | None = None,
        dtmf_payload_type: int | None = None,
        *,
        continuous: bool = False,
        random_bits: Callable[[int], int] = secrets.randbits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.codec = codec
        self.port = port
        self.on_audio: AudioSink = discard
        self.on_dtmf: Callable[[str], None] = _ignore
        self._codec = CODECS[codec]
        payload_type = self._codec.payload_type if payload_type is None else payload_type
        self._sender = AudioSender(
            port.send,
            payload_type,
            dtmf_payload_type,
            silence=self._codec.silence * FRAME_SAMPLES if continuous else None,
            random_bits=random_bits,
        )
        self._receiver = AudioReceiver(
            lambda frame: self.on_audio(frame),
            lambda digit: self.on_dtmf(digit),
            payload_types={payload_type: self._codec},
            dtmf_payload_type=dtmf_payload_type,
            clock=clock,
        )
        self._closed = False
        port.sink = self._receiver.receive

    @property
    def underruns(self) -> int:
        """Frames that were sent at least 20 ms late, because this process was late."""
        return self._sender.underruns

    def play(self, pcm: bytes) -> asyncio.Future[bool]:
        """Play PCM16 mono 8 kHz after whatever is queued; each frame is encoded when it is due.

        Returns a future: True when the last frame has been played out, False if it was stopped. No need to
        await it.
        """
        return self._sender.play(_encoding(self._codec, pcm))

    def play_frames(self, frames: Iterable[bytes]) -> asyncio.Future[bool]:
        """Play frames already encoded in this session's codec, 160 bytes each; otherwise as `play`."""
        return self._sender.play(frames)

    def send_dtmf(self, digits: str) -> asyncio.Future[bool]:
        """Press keys, 100 ms each, after whatever is queued.

        Raises:
            ValueError: telephone-event was not negotiated, or a character is no key.

        """
        return self._sender.play_digits(digits)

    def stop_playing(self) -> None:
        """Fall silent at once; everything queued is dropped and its future becomes False."""
        self._sender.stop()

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
        self._receiver.flush()


def _encoding(codec: Codec, pcm: bytes) -> Iterator[bytes]:
    for at in range(0, len(pcm), FRAME_BYTES):
        payload = codec.encode(pcm[at : at + FRAME_BYTES])
        yield payload + codec.silence * (FRAME_SAMPLES - len(payload))


def _ignore(digit: str) -> None:
    """What a session does with keys that nobody asked for."""

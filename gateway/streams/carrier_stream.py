"""What carriers' media streams have in common: numbered messages of one stream, with marks that come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gateway.streams.media_messages import read
from gateway.streams.protocol import FRAME_MS, StreamedCall, StreamEvent, encoded, written


class CarrierStream:
    """Most of a `StreamProtocol`: what Twilio and Telnyx only call by different names.

    Args:
        stream_id: of the stream, in every message.

    Attributes:
        NUMBER, STREAM: what the fields with a message's number and its stream are called.

    """

    __slots__ = ("_call", "_chunk", "_media", "_sequence", "_stream_id")

    NUMBER: ClassVar[str]
    STREAM: ClassVar[str]

    def __init__(self, call: StreamedCall, stream_id: str) -> None:
        self._call = call
        self._stream_id = stream_id
        self._sequence = 0
        self._chunk = 0
        self._media = (
            f'{{"event":"media","{self.NUMBER}":"%d","{self.STREAM}":"{stream_id}","media":'
            '{"track":"inbound","chunk":"%d","timestamp":"%d","payload":"%b"}}'
        ).encode()

    def audio(self, frame: bytes) -> bytes:
        """`media`; written by hand, since it is written fifty times a second for each call."""
        self._sequence = sequence = self._sequence + 1
        chunk = self._chunk
        self._chunk = chunk + 1
        return self._media % (sequence, chunk + 1, chunk * FRAME_MS, encoded(frame))

    def reached(self, name: str) -> list[bytes]:
        """`mark`, as it came."""
        return [self._message("mark", mark={"name": name})]

    def cleared(self, marks: Sequence[str], played: int) -> list[bytes]:
        """Marks that will not be reached any more come back at once."""
        return [message for name in marks for message in self.reached(name)]

    def receive(self, text: str | bytes) -> list[StreamEvent]:
        """See `gateway.streams.media_messages`."""
        return read(text)

    def _message(self, event: str, **content: object) -> bytes:
        self._sequence += 1
        return written(
            {"event": event, self.NUMBER: str(self._sequence), self.STREAM: self._stream_id, **content}
        )

"""Twilio Media Streams, bidirectional (Twilio's documentation, "Media Streams - WebSocket messages").

Numbers travel as strings. `connected` comes first and has no sequence number, `start` follows at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from gateway.streams.media_messages import read
from gateway.streams.protocol import FRAME_MS, AudioForm, OptionError, StreamedCall, StreamEvent, encoded


class TwilioStream:
    """See `StreamProtocol`.

    As the carrier does it, what an agent writes into `streamSid` is not looked at: there is one stream on a
    socket.
    """

    __slots__ = ("_call", "_chunk", "_sequence", "_sid", "form")

    def __init__(self, call: StreamedCall, options: Mapping[str, str]) -> None:
        for name in options:
            raise OptionError(f"{name}: protocol twilio has no options")
        self.form = AudioForm("PCMU", 8000)
        self._call = call
        self._sid = "MZ" + call.derived("MZ")
        self._sequence = 0
        self._chunk = 0

    def opening(self) -> list[str]:
        """`connected` and `start`."""
        call = self._call
        start = {
            "streamSid": self._sid,
            "accountSid": call.account_sid,
            "callSid": call.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": call.parameters,
        }
        connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        return [json.dumps(connected), self._message("start", start=start)]

    def audio(self, frame: bytes) -> str:
        """`media`; written by hand, since it is written fifty times a second for each call."""
        self._sequence += 1
        self._chunk += 1
        return (
            f'{{"event":"media","sequenceNumber":"{self._sequence}","streamSid":"{self._sid}","media":'
            f'{{"track":"inbound","chunk":"{self._chunk}","timestamp":"{(self._chunk - 1) * FRAME_MS}",'
            f'"payload":"{encoded(frame)}"}}}}'
        )

    def key(self, digit: str) -> list[str]:
        """`dtmf`."""
        return [self._message("dtmf", dtmf={"track": "inbound_track", "digit": digit})]

    def reached(self, name: str) -> list[str]:
        """`mark`, as it came."""
        return [self._message("mark", mark={"name": name})]

    def cleared(self, marks: Sequence[str], played: int) -> list[str]:
        """Marks that will not be reached any more come back at once."""
        return [message for name in marks for message in self.reached(name)]

    def closing(self) -> list[str]:
        """`stop`."""
        call = self._call
        return [self._message("stop", stop={"accountSid": call.account_sid, "callSid": call.call_sid})]

    def receive(self, text: str | bytes) -> list[StreamEvent]:
        """See `gateway.streams.media_messages`."""
        return read(text)

    def _message(self, event: str, **content: object) -> str:
        self._sequence += 1
        return json.dumps(
            {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self._sid, **content}
        )

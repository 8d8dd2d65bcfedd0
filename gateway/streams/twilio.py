"""Twilio Media Streams, bidirectional (Twilio's documentation, "Media Streams - WebSocket messages").

Numbers travel as strings. `connected` comes first and has no sequence number, `start` follows at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.streams.carrier_stream import CarrierStream
from gateway.streams.protocol import AudioForm, OptionError, StreamedCall, written


class TwilioStream(CarrierStream):
    """See `StreamProtocol`.

    As the carrier does it, what an agent writes into `streamSid` is not looked at: there is one stream on a
    socket.
    """

    __slots__ = ("form",)

    NUMBER = "sequenceNumber"
    STREAM = "streamSid"

    def __init__(self, call: StreamedCall, options: Mapping[str, str]) -> None:
        for name in options:
            raise OptionError(f"{name}: protocol twilio has no options")
        super().__init__(call, "MZ" + call.derived("MZ"))
        self.form = AudioForm("PCMU", 8000)

    def opening(self) -> list[bytes]:
        """`connected` and `start`."""
        call = self._call
        start = {
            "streamSid": self._stream_id,
            "accountSid": call.account_sid,
            "callSid": call.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": call.parameters,
        }
        connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        return [written(connected), self._message("start", start=start)]

    def key(self, digit: str) -> list[bytes]:
        """`dtmf`."""
        return [self._message("dtmf", dtmf={"track": "inbound_track", "digit": digit})]

    def closing(self) -> list[bytes]:
        """`stop`."""
        call = self._call
        return [self._message("stop", stop={"accountSid": call.account_sid, "callSid": call.call_sid})]

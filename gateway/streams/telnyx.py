"""Telnyx media streaming over WebSockets (Telnyx's knowledge base, "Media Streaming over WebSockets").

Names are in snake case, agents' messages carry no stream id, payloads are those of RTP without its header.
Options of an endpoint: ``encoding`` (``PCMU``, ``PCMA`` or ``L16``) and, for L16, ``sample_rate``
(``8000`` or ``16000``).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from gateway.streams.carrier_stream import CarrierStream
from gateway.streams.protocol import AudioForm, OptionError, StreamedCall, written

OPTIONS: Final = ("encoding", "sample_rate")

_FORMS: Final = {
    ("PCMU", "8000"): AudioForm("PCMU", 8000),
    ("PCMA", "8000"): AudioForm("PCMA", 8000),
    ("L16", "8000"): AudioForm("L16", 8000),
    ("L16", "16000"): AudioForm("L16", 16000),
}


class TelnyxStream(CarrierStream):
    """See `StreamProtocol`."""

    __slots__ = ("_control_id", "_session_id", "_user_id", "form")

    NUMBER = "sequence_number"
    STREAM = "stream_id"

    def __init__(self, call: StreamedCall, options: Mapping[str, str]) -> None:
        super().__init__(call, str(UUID(call.derived("stream"))))
        self.form = _form(options)
        self._session_id = str(UUID(call.derived("session")))
        self._user_id = str(UUID(hex=call.account_sid[2:]))
        self._control_id = "v2:" + call.derived("control", 64)

    def opening(self) -> list[bytes]:
        """`connected` and `start`."""
        call = self._call
        start = {
            "user_id": self._user_id,
            "call_control_id": self._control_id,
            "call_session_id": self._session_id,
            "from": call.caller,
            "to": call.dialled,
            "tags": [],
            "client_state": "",
            "custom_parameters": call.parameters,
            "media_format": {"encoding": self.form.encoding, "sample_rate": self.form.rate, "channels": 1},
        }
        return [written({"event": "connected", "version": "1.0.0"}), self._message("start", start=start)]

    def key(self, digit: str) -> list[bytes]:
        """`dtmf`."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return [self._message("dtmf", occurred_at=at, dtmf={"digit": digit})]

    def closing(self) -> list[bytes]:
        """`stop`."""
        return [self._message("stop", stop={"user_id": self._user_id, "call_control_id": self._control_id})]


def _form(options: Mapping[str, str]) -> AudioForm:
    for name in options:
        if name not in OPTIONS:
            raise OptionError(f"{name}: protocol telnyx has the options {', '.join(OPTIONS)}")
    encoding = options.get("encoding", "PCMU").upper()
    form = _FORMS.get((encoding, options.get("sample_rate", "16000" if encoding == "L16" else "8000")))
    if form is None:
        raise OptionError("encoding: write PCMU, PCMA or L16; sample_rate: 8000, or for L16 also 16000")
    return form

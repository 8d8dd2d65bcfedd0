"""Telnyx media streaming over WebSockets (Telnyx's knowledge base, "Media Streaming over WebSockets").

Names are in snake case, agents' messages carry no stream id, payloads are those of RTP without its header.
Options of an endpoint: ``encoding`` (``PCMU``, ``PCMA`` or ``L16``) and, for L16, ``sample_rate``
(``8000`` or ``16000``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from gateway.streams.media_messages import read
from gateway.streams.protocol import FRAME_MS, AudioForm, OptionError, StreamedCall, StreamEvent, encoded

OPTIONS: Final = ("encoding", "sample_rate")

_FORMS: Final = {
    ("PCMU", "8000"): AudioForm("PCMU", 8000),
    ("PCMA", "8000"): AudioForm("PCMA", 8000),
    ("L16", "8000"): AudioForm("L16", 8000),
    ("L16", "16000"): AudioForm("L16", 16000),
}


class TelnyxStream:
    """See `StreamProtocol`."""

    __slots__ = (
        "_call",
        "_chunk",
        "_control_id",
        "_sequence",
        "_session_id",
        "_stream_id",
        "_user_id",
        "form",
    )

    def __init__(self, call: StreamedCall, options: Mapping[str, str]) -> None:
        self.form = _form(options)
        self._call = call
        self._stream_id = str(UUID(call.derived("stream")))
        self._session_id = str(UUID(call.derived("session")))
        self._user_id = str(UUID(hex=call.account_sid[2:]))
        self._control_id = "v2:" + call.derived("control", 64)
        self._sequence = 0
        self._chunk = 0

    def opening(self) -> list[str]:
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
        return [json.dumps({"event": "connected", "version": "1.0.0"}), self._message("start", start=start)]

    def audio(self, frame: bytes) -> str:
        """`media`; written by hand, since it is written fifty times a second for each call."""
        self._sequence += 1
        self._chunk += 1
        return (
            f'{{"event":"media","sequence_number":"{self._sequence}","stream_id":"{self._stream_id}","media":'
            f'{{"track":"inbound","chunk":"{self._chunk}","timestamp":"{(self._chunk - 1) * FRAME_MS}",'
            f'"payload":"{encoded(frame)}"}}}}'
        )

    def key(self, digit: str) -> list[str]:
        """`dtmf`."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return [self._message("dtmf", occurred_at=at, dtmf={"digit": digit})]

    def reached(self, name: str) -> list[str]:
        """`mark`, as it came."""
        return [self._message("mark", mark={"name": name})]

    def cleared(self, marks: Sequence[str], played: int) -> list[str]:
        """Marks that will not be reached any more come back at once."""
        return [message for name in marks for message in self.reached(name)]

    def closing(self) -> list[str]:
        """`stop`."""
        return [self._message("stop", stop={"user_id": self._user_id, "call_control_id": self._control_id})]

    def receive(self, text: str | bytes) -> list[StreamEvent]:
        """See `gateway.streams.media_messages`."""
        return read(text)

    def _message(self, event: str, **content: object) -> str:
        self._sequence += 1
        return json.dumps(
            {"event": event, "sequence_number": str(self._sequence), "stream_id": self._stream_id, **content}
        )


def _form(options: Mapping[str, str]) -> AudioForm:
    for name in options:
        if name not in OPTIONS:
            raise OptionError(f"{name}: protocol telnyx has the options {', '.join(OPTIONS)}")
    encoding = options.get("encoding", "PCMU").upper()
    form = _FORMS.get((encoding, options.get("sample_rate", "16000" if encoding == "L16" else "8000")))
    if form is None:
        raise OptionError("encoding: write PCMU, PCMA or L16; sample_rate: 8000, or for L16 also 16000")
    return form

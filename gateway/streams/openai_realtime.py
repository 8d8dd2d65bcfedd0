"""The OpenAI Realtime API over WebSocket: the session is ours to configure, audio goes both ways as base64.

Names are those of the general availability API, with those of its beta understood too. Options of an
endpoint: ``format`` (``pcmu``, ``pcma``, or ``pcm`` at 24 kHz), ``voice``, ``instructions``, and ``greeting``
(``true`` asks the model to speak first). The model stands in the URL (`?model=…`), the key in an
`Authorization` header.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.streams.protocol import (
    AudioForm,
    AudioReceived,
    ClearReceived,
    OptionError,
    StreamedCall,
    StreamEvent,
    decoded,
    encoded,
    nonsense,
    written,
)

OPTIONS: Final = ("format", "greeting", "instructions", "voice")

_FORMS: Final = {
    "pcmu": AudioForm("PCMU", 8000),
    "pcma": AudioForm("PCMA", 8000),
    "pcm": AudioForm("PCM16", 24000),
}

_DELTAS: Final = frozenset({"response.output_audio.delta", "response.audio.delta"})


class _Message(msgspec.Struct):
    type: str
    delta: Any = None
    item_id: Any = None
    content_index: Any = 0


_read = msgspec.json.Decoder(_Message).decode


class OpenAiRealtime:
    """See `StreamProtocol`.

    A caller who begins to speak interrupts the model: what it has said and nobody has heard yet is dropped,
    and the model is told how far it was heard, so that it remembers the same conversation as the caller.
    """

    __slots__ = ("_call", "_item", "_item_from", "_item_index", "_options", "_pushed", "form")

    def __init__(self, call: StreamedCall, options: Mapping[str, str]) -> None:
        for name in options:
            if name not in OPTIONS:
                raise OptionError(f"{name}: protocol openai-realtime has the options {', '.join(OPTIONS)}")
        form = _FORMS.get(options.get("format", "pcmu"))
        if form is None:
            raise OptionError("format: write pcmu, pcma or pcm")
        self.form = form
        self._call = call
        self._options = options
        self._pushed = 0  # samples, without those that were dropped
        self._item: str | None = None
        self._item_index = 0
        self._item_from = 0

    def opening(self) -> list[bytes]:
        """`session.update`, and `response.create` for a model that greets."""
        form: dict[str, object] = {"type": f"audio/{self._options.get('format', 'pcmu')}"}
        if self.form.encoding == "PCM16":
            form["rate"] = self.form.rate
        output: dict[str, object] = {"format": form}
        if voice := self._options.get("voice"):
            output["voice"] = voice
        session: dict[str, object] = {
            "type": "realtime",
            "output_modalities": ["audio"],
            "audio": {"input": {"format": form, "turn_detection": {"type": "server_vad"}}, "output": output},
        }
        if instructions := self._options.get("instructions"):
            session["instructions"] = instructions
        messages = [written({"type": "session.update", "session": session})]
        if self._options.get("greeting", "").lower() == "true":
            messages.append(written({"type": "response.create"}))
        return messages

    def audio(self, frame: bytes) -> bytes:
        """`input_audio_buffer.append`."""
        return b'{"type":"input_audio_buffer.append","audio":"%b"}' % encoded(frame)

    def key(self, digit: str) -> list[bytes]:
        """The protocol has no keys: the model reads of it, and answers."""
        text = [{"type": "input_text", "text": f"The caller pressed the telephone key {digit}."}]
        item = {"type": "message", "role": "user", "content": text}
        return [
            written({"type": "conversation.item.create", "item": item}),
            written({"type": "response.create"}),
        ]

    def reached(self, name: str) -> list[bytes]:
        """The protocol has no marks."""
        return []

    def cleared(self, marks: Sequence[str], played: int) -> list[bytes]:
        """`conversation.item.truncate` at what the caller has heard of the item."""
        item, begins = self._item, self._item_from
        spoken = self._pushed
        self._item = None
        self._pushed = played
        if item is None or played >= spoken:
            return []  # all of it has been heard
        heard = max(0, played - begins) * 1000 // self.form.rate
        truncate = {
            "type": "conversation.item.truncate",
            "item_id": item,
            "content_index": self._item_index,
            "audio_end_ms": heard,
        }
        return [written(truncate)]

    def closing(self) -> list[bytes]:
        """The protocol has no goodbye but that of the socket."""
        return []

    def receive(self, text: str | bytes) -> list[StreamEvent]:
        """Audio, and the caller's interruptions; the rest of the session's events is not for us."""
        try:
            message = _read(text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return nonsense("not a message of the Realtime API")
        if message.type in _DELTAS:
            audio = decoded(message.delta) if isinstance(message.delta, str) else None
            if audio is None:
                return nonsense("audio without a delta")
            self._note(message, len(audio) // self.form.bytes_a_sample)
            return [AudioReceived(audio)]
        if message.type == "input_audio_buffer.speech_started":
            return [ClearReceived()]
        return nonsense("error: the session reported one") if message.type == "error" else []

    def _note(self, message: _Message, samples: int) -> None:
        if isinstance(message.item_id, str) and message.item_id != self._item:
            self._item = message.item_id
            self._item_index = message.content_index if isinstance(message.content_index, int) else 0
            self._item_from = self._pushed
        self._pushed += samples

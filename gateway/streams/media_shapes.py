"""The shape of what agents write in the carriers' protocols, as far as anybody looks at it.

Apart from `gateway.streams.media_messages`, which is compiled: these classes cannot be.
"""

from __future__ import annotations

import msgspec


class Media(msgspec.Struct):
    """Audio, in base64."""

    payload: str


class Mark(msgspec.Struct):
    """A name that comes back."""

    name: str


class Message(msgspec.Struct):
    """One message, with what its event has."""

    event: str
    media: Media | None = None
    mark: Mark | None = None


decode = msgspec.json.Decoder(Message).decode
"""From text, or bytes in UTF-8. Raises msgspec.MsgspecError, RecursionError, UnicodeError."""

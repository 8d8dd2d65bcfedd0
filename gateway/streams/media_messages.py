"""What agents write in the carriers' protocols, which differ only in names that nobody looks at."""

from __future__ import annotations

import msgspec

from gateway.streams.media_shapes import decode
from gateway.streams.protocol import (
    AudioReceived,
    ClearReceived,
    GoodbyeReceived,
    MarkReceived,
    StreamEvent,
    decoded,
    nonsense,
)


def read(text: str | bytes) -> list[StreamEvent]:
    """`media`, `mark`, `clear`; and `stop`, by which some agents say goodbye. Raises nothing."""
    try:
        message = decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return nonsense("not a message of a media stream")
    match message.event:
        case "media":
            audio = decoded(message.media.payload) if message.media is not None else None
            return nonsense("media without a payload in base64") if audio is None else [AudioReceived(audio)]
        case "mark":
            mark = message.mark
            return nonsense("a mark without a name") if mark is None else [MarkReceived(mark.name)]
        case "clear":
            return [ClearReceived()]
        case "stop":
            return [GoodbyeReceived()]
    return nonsense("an event that media streams do not have")

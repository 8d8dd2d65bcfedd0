"""The messages in memory: least recently used out first."""

from __future__ import annotations

from collections import OrderedDict

from gateway.speech.message import RenderedMessage


class MessageMemory:
    """Holds messages up to a number of bytes, encodings included."""

    __slots__ = ("_free", "_messages")

    def __init__(self, max_bytes: int) -> None:
        self._messages: OrderedDict[str, RenderedMessage] = OrderedDict()
        self._free = max_bytes

    def __contains__(self, key: str) -> bool:
        return key in self._messages

    def get(self, key: str) -> RenderedMessage | None:
        """The message, which now counts as used, or None."""
        message = self._messages.get(key)
        if message is not None:
            self._messages.move_to_end(key)
        return message

    def put(self, key: str, message: RenderedMessage) -> None:
        """Keep a message that is not there yet, and drop others for it."""
        self._messages[key] = message
        self._free -= message.size
        while self._free < 0:
            _, evicted = self._messages.popitem(last=False)
            self._free += evicted.size

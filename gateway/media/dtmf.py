"""Keys pressed during a call, as RFC 4733 telephone events (payload format ``telephone-event/8000``)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from gateway.media.g711 import FRAME_SAMPLES
from gateway.media.rtp import signed32

DIGITS = "0123456789*#ABCD"
"""Event codes 0–15 (RFC 4733 §3.2); others (flash, modem and fax tones) are not keys."""

LONGEST_SEGMENT = 0xFFFF
"""A longer event goes on in a new segment, with a timestamp later by just this much (§2.5.1.3)."""

END_PACKETS = 3
"""The final report is sent this often, so that its loss is unlikely (§2.5.1.4)."""

VOLUME = 10
"""Tone level as -dBm0, in the middle of what §2.3.3 admits."""

_CODES = {digit: code for code, digit in enumerate(DIGITS)}
_EVENT = struct.Struct("!BBH")
_END = 0x80


class DtmfReceiver:
    """Reports each key press once, at its first packet that arrives, be it the start, an update or the end.

    on_digit: called with one of `DIGITS`.
    """

    __slots__ = ("_ended", "_event", "_on_digit", "_timestamp")

    def __init__(self, on_digit: Callable[[str], None]) -> None:
        self._on_digit = on_digit
        self._timestamp: int | None = None
        self._event = 0
        self._ended = True

    def receive(self, timestamp: int, payload: bytes) -> None:
        """Take the payload of one telephone-event packet; malformed ones are ignored."""
        if len(payload) < _EVENT.size:
            return
        event, flags, _ = _EVENT.unpack_from(payload)
        since = None if self._timestamp is None else signed32(timestamp - self._timestamp)
        if since is not None and since < 0:
            return  # an update of an earlier event, overtaken
        if since != 0:
            next_segment = event == self._event and not self._ended and since == LONGEST_SEGMENT
            self._timestamp, self._event, self._ended = timestamp, event, False
            if not next_segment and event < len(DIGITS):
                self._on_digit(DIGITS[event])
        self._ended = self._ended or bool(flags & _END)

    def restart(self) -> None:
        """Forget the last event: another source has another clock."""
        self._timestamp = None
        self._ended = True


def event_payloads(digit: str, packets: int = 5, *, units: int = FRAME_SAMPLES) -> Iterator[bytes]:
    """The payloads of one key press, one for each 20 ms: growing durations, then the end and its repeats.

    packets: the length of the press in frames of 20 ms; units: of the timestamp in each of them.

    Raises:
        ValueError: it is none of `DIGITS`.

    """
    event = _CODES.get(digit.upper())
    if event is None:
        raise ValueError(f"{digit!r} is no key of a telephone")
    for count in range(1, packets):
        yield _EVENT.pack(event, VOLUME, count * units)
    for _ in range(END_PACKETS):
        yield _EVENT.pack(event, _END | VOLUME, packets * units)

"""Takes every SIP message that comes and goes, at the price of one append.

Nothing is sorted by call while calls go on: messages lie in segments by time, and a call's are found by its
Call-IDs when somebody asks, in the time that the call took. So a call costs what its messages take to be
copied to a file, whether or not anybody ever looks.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from gateway.sip.flow import Flow
from gateway.sip.network import Address
from gateway.traces.redaction import may_hold_secrets, redact
from gateway.traces.segments import Entry, Segments, decode, encode
from gateway.traces.writer import TraceWriter

MAX_PLACES: Final = 4_096
"""Flows whose ends are remembered, two for each peer."""

MAX_MESSAGES: Final = 1_000
"""Messages shown of one call; one that has more is flooded by somebody."""

Taken: TypeAlias = tuple[float, bool, Flow, bytes]

Place: TypeAlias = tuple[str, str, int, str, int]
"""Transport, the peer's address, ours: what an `Entry` has between its direction and its message."""

_CALL_ID: Final = re.compile(rb"\n(?:call-id|i)[ \t]*:[ \t]*(\S+)", re.IGNORECASE)


class TraceLog:
    """The SIP messages of one process.

    Args:
        segments: where they are written.
        local: our address as the peer of a flow sees it.
        clock: seconds since the epoch.
        on_dropped, on_error: see `TraceWriter`.

    """

    def __init__(
        self,
        segments: Segments,
        local: Callable[[Flow], Address],
        *,
        clock: Callable[[], float] = time.time,
        on_dropped: Callable[[int], None] = lambda count: None,
        on_error: Callable[[OSError], None] = lambda error: None,
    ) -> None:
        self._segments = segments
        self._local = local
        self._clock = clock
        self._places: dict[Flow, Place] = {}
        self.writer: TraceWriter[Taken] = TraceWriter(
            segments, self._entry, clean=_cleaned, on_dropped=on_dropped, on_error=on_error
        )
        self._put = self.writer.put

    def received(self, flow: Flow, data: bytes) -> None:
        """A message came."""
        self._put((self._clock(), False, flow, data))

    def sent(self, flow: Flow, data: bytes) -> None:
        """A message goes."""
        self._put((self._clock(), True, flow, data))

    async def read(self, call_ids: Sequence[str], since: float, until: float) -> list[Entry]:
        """The messages of a call, oldest first, `MAX_MESSAGES` at most.

        call_ids: of its legs; since, until: seconds since the epoch.
        """
        await self.writer.flush()
        wanted = frozenset(each.encode("utf-8", "surrogateescape") for each in call_ids if each)
        return await asyncio.to_thread(self._find, wanted, since, until) if wanted else []

    def _entry(self, taken: Taken) -> Entry:
        at, out, flow, data = taken
        place = self._places.get(flow)
        if place is None:
            if len(self._places) >= MAX_PLACES:
                self._places.clear()
            place = self._places[flow] = (flow.transport, flow.host, flow.port, *self._local(flow))
        return Entry(at, out, *place, data)

    def _find(self, call_ids: frozenset[bytes], since: float, until: float) -> list[Entry]:
        found: list[Entry] = []
        for block in self._segments.blocks(since, until):
            if any(each in block for each in call_ids):
                found += [
                    entry
                    for entry in decode(block)
                    if since <= entry.at <= until and call_id_of(entry.data) in call_ids
                ]
                if len(found) >= MAX_MESSAGES:
                    break
        return found[:MAX_MESSAGES]


def call_id_of(message: bytes) -> bytes:
    """The Call-ID of a SIP message; empty if it has none."""
    match = _CALL_ID.search(message)
    return match[1] if match is not None else b""


def _cleaned(entries: list[Entry], block: bytes) -> bytes:
    if not may_hold_secrets(block):
        return block
    return encode(
        [each._replace(data=redact(each.data)) if may_hold_secrets(each.data) else each for each in entries]
    )

"""Keeps what another process needs to go on with our established calls, off the path of calls.

A call that begins, changes or ends is noted in a table, where the latest state wins; some times a second
what was noted is written in one go. Calls that are over before that are never written. Nothing waits for
Redis: while it is away nothing is kept, which is said and counted, and when it is back, everything is kept
anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from gateway.calls.call import Call
from gateway.continuity.kept_call import KeptCall, encode, kept
from routing.kept_calls import FAILURES, RECORD_SECONDS, Kept, KeptCalls

PAUSE: Final = 0.2
"""Seconds between writes: a call that is younger when its process dies is lost."""

BEAT_SECONDS: Final = 1.0
"""Between signs of life; no lease may be shorter than three."""

BATCH: Final = 25
"""Calls written in one go."""

PIECE: Final = 5
"""Calls looked at without letting anybody else run: a third of a millisecond."""

RENEW_SECONDS: Final = RECORD_SECONDS / 2
"""After which every record is written anew, so that none of a long call expires."""


class Keeper:
    """Fulfils `gateway.calls.call.Continuity`.

    Args:
        store: of all records.
        calls: those that are alive.
        wall_clock: seconds since the epoch, the same for all gateways; clock: monotonic seconds.
        on_failed: told each time that nothing could be written.
        on_error: told what went wrong, in words, the same thing once; empty when it is well again.

    """

    def __init__(
        self,
        store: KeptCalls,
        calls: Iterable[Call],
        *,
        wall_clock: Callable[[], float],
        clock: Callable[[], float],
        on_failed: Callable[[], None] = lambda: None,
        on_error: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._store = store
        self._calls = calls
        self._wall_clock = wall_clock
        self._clock = clock
        self._on_failed = on_failed
        self._on_error = on_error
        self._changed: dict[str, Call] = {}
        self._gone: dict[str, tuple[str, ...]] = {}
        self._written: dict[str, tuple[str, ...]] = {}
        self._writing = asyncio.Lock()
        self._alive = False
        self._behind = False
        self._complaint = ""
        self._beat_at = self._renew_at = 0.0
        self._heard_at = clock()

    @property
    def waiting(self) -> int:
        """Changes that are not written yet."""
        return len(self._changed) + len(self._gone)

    @property
    def kept(self) -> int:
        """Calls whose state Redis has, or is just getting."""
        return len(self._written)

    @property
    def lease_age(self) -> float:
        """Seconds since Redis last heard that we live; since we began, if it never has."""
        return self._clock() - self._heard_at

    # --- on the path of calls

    def changed(self, call: Call) -> None:
        """See `Continuity`."""
        self._changed[call.id] = call

    def over(self, call: Call) -> None:
        """See `Continuity`; what was taken over by another process is that one's to drop."""
        self._changed.pop(call.id, None)
        dialogs = self._written.pop(call.id, None)
        if dialogs is not None and not call.ceded:
            self._gone[call.id] = dialogs

    # --- calls that were another process's

    def inherit(self, kept: KeptCall) -> None:
        """A call is going to be taken over: what Redis has of it is ours to drop once it is over."""
        self._written[kept.call_id] = kept.dialogs

    def disown(self, kept: KeptCall) -> None:
        """Nothing could be done with it."""
        self._gone[kept.call_id] = self._written.pop(kept.call_id, kept.dialogs)

    # --- in the background

    async def run(self) -> None:
        """Keep and beat until cancelled."""
        self._renew_at = self._clock() + RENEW_SECONDS
        while True:
            await self.turn()
            await asyncio.sleep(PAUSE)

    async def turn(self) -> None:
        """What is due now. Raises nothing."""
        now = self._clock()
        try:
            if now >= self._beat_at:
                self._beat_at = now + BEAT_SECONDS
                await self._beat()
            if now >= self._renew_at:
                self._renew_at = now + RENEW_SECONDS
                self._note_all()
            if not self._behind:
                await self.flush()
        except FAILURES as error:
            self._failed(error)

    async def flush(self) -> None:
        """Write what was noted. Raises one of `FAILURES`; then it is written anew once that is over."""
        async with self._writing:
            while self._changed or self._gone:
                records = await self._records()
                gone = list(islice(self._gone.items(), BATCH))
                for call_id, _ in gone:
                    del self._gone[call_id]
                try:
                    await self._store.write(records, [Kept(call_id, b"", each) for call_id, each in gone])
                except FAILURES:
                    self._behind = True
                    self._changed.clear()
                    self._gone.clear()
                    raise

    async def leave(self) -> None:
        """No call is left, and we end in good order. Raises one of `FAILURES`."""
        await self._store.leave()

    async def _records(self) -> list[Kept]:
        """Of some calls that have changed, as they are now; those that end meanwhile are gone afterwards."""
        records = []
        for count, call_id in enumerate(list(islice(self._changed, BATCH)), 1):
            call = self._changed.pop(call_id, None)
            record = None if call is None else self._record(call)
            if record is not None:
                records.append(record)
            if count % PIECE == 0:
                await asyncio.sleep(0)
        return records

    def _record(self, call: Call) -> Kept | None:
        found = kept(call, self._wall_clock())
        if found is None:
            return None
        dialogs, before = found.dialogs, self._written.get(call.id, ())
        # Before it is written, so that one that ends meanwhile is dropped; and with what it had before.
        self._written[call.id] = tuple(dict.fromkeys((*dialogs, *before)))
        return Kept(call.id, encode(found), dialogs)

    async def _beat(self) -> None:
        asked_at = self._clock()
        lived = await self._store.beat()
        self._heard_at = asked_at
        if self._alive and not lived:
            await self._after_absence()
        elif self._behind:
            await self._catch_up()
        self._alive = True
        if self._complaint:
            self._complaint = ""
            self._on_error("")

    async def _after_absence(self) -> None:
        """Our lease had run out: calls that others have taken over meanwhile are theirs."""
        others = (await self._store.away()).others
        for call in list(self._calls):
            if call.id in others:
                call.cede()
        await self._catch_up()

    async def _catch_up(self) -> None:
        """Keep everything anew, and drop what is over."""
        live = {call.id for call in self._calls}
        await self._store.drop((await self._store.away()).mine - live)
        self._behind = False
        self._note_all()

    def _note_all(self) -> None:
        for call in self._calls:
            if call.answered and not call.ceded:
                self.changed(call)

    def _failed(self, error: BaseException) -> None:
        self._on_failed()
        text = str(error) or type(error).__name__
        if text != self._complaint:
            self._complaint = text
            self._on_error(text)

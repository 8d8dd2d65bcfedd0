"""Finds established calls whose process died, and takes them over: each is claimed by one process only.

Whose process is dead is known at once of earlier processes of our own data directory, by their locks. Of
others it is believed when their lease has run out, and stays so for `GRACE`: when Redis itself was away all
leases have run out, and whoever lives says so within a second. A request that comes here for a dialog of a
process whose lease has run out, or which was a worker of this machine and has let go of its lock, is reason
enough to take that call over at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec

from gateway.admission.token_bucket import TokenBucket
from gateway.continuity.adopter import Result
from gateway.continuity.keeper import Keeper
from gateway.continuity.kept_call import KeptCall, decode
from routing.kept_calls import FAILURES, KeptCalls

LOOK_SECONDS: Final = 1.0
"""Between looks for owners whose lease has run out."""

GRACE: Final = 2.0
"""Seconds that a lease must have been seen run out: longer than twice the pause between signs of life."""

BATCH: Final = 25
"""Calls taken over in one go: that holds the event loop for some milliseconds."""

PAUSE: Final = 0.05
"""Seconds between batches: a node of 2,000 calls has other owners within five, and no peer is flooded."""

MAX_LOOKUPS: Final = 100
"""Look-ups a second for requests whose dialog is not here: far more than peers of a node that died send, and
little enough for whoever makes dialogs up."""


class Stray(Protocol):
    """A request whose dialog is not here; see `gateway.sip.stray_request.StrayRequest`."""

    call_id: str


class Orphans:
    """Looks every second, and whenever a request asks for it.

    Args:
        store: of all records; hot: the same by a client whose answers come at once or not at all.
        dead: owners known to live no more.
        adopt: goes on with one call.
        keeper: of our own calls, which those become.
        died: asks for owners of this machine that are known to live no more, now.
        buried: told each of `dead` of which nothing is left.
        clock: seconds, monotonic.
        on_result: told what became of each call.
        on_error: told what went wrong, in words, the same thing once; empty when it is well again.

    """

    def __init__(
        self,
        store: KeptCalls,
        hot: KeptCalls,
        dead: list[str],
        adopt: Callable[[KeptCall], Result],
        keeper: Keeper,
        *,
        died: Callable[[], Awaitable[list[str]]],
        buried: Callable[[str], Awaitable[None]],
        clock: Callable[[], float],
        on_result: Callable[[Result], None] = lambda result: None,
        on_error: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._store = store
        self._hot = hot
        self._dead = set(dead)
        self._adopt = adopt
        self._keeper = keeper
        self._died = died
        self._buried = buried
        self._clock = clock
        self._on_result = on_result
        self._on_error = on_error
        self._late_since: dict[str, float] = {}
        self._unsettled: list[tuple[str, list[str]]] = []
        self._lookups = TokenBucket(MAX_LOOKUPS, clock())
        self._complaint = ""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Take over what is nobody's now. Raises nothing."""
        try:
            await self._settle_again()
            for owner in sorted(self._dead):
                await self._take_all(owner, dead=True)
            late = await self._store.late()
            now = self._clock()
            self._late_since = {owner: self._late_since.get(owner, now) for owner in late}
            for owner, since in list(self._late_since.items()):
                if now - since >= GRACE and await self._take_all(owner):
                    await self._store.bury(owner)
        except FAILURES as error:
            self._late_since.clear()  # all of them may have been cut off with us
            self._complain(str(error) or type(error).__name__)
        else:
            self._complain("")

    async def look_for(self, stray: Stray) -> None:
        """Take one call over for whose dialog a request came, if its owner is not there any more."""
        if not self._lookups.take(self._clock()):
            return
        try:
            dead = self._dead.union(await self._died())
            owners = list(dict.fromkeys((*dead, *await self._hot.late())))
            found = await self._hot.find(stray.call_id, owners)
            if found is not None:
                owner, call_id = found
                self._take(owner, await self._hot.claim(owner, 1, [call_id], dead=owner in dead))
        except FAILURES as error:
            self._complain(str(error) or type(error).__name__)

    async def _take_all(self, owner: str, *, dead: bool = False) -> bool:
        """Take over all calls of an owner; True if it has none left, False if it lives."""
        while True:
            claimed = await self._store.claim(owner, BATCH, dead=dead)
            if claimed is None:
                return False
            if not claimed:
                break
            self._take(owner, claimed)
            await self._settle_again()
            await asyncio.sleep(PAUSE)
        empty = await self._store.settle(owner, [])
        if empty and owner in self._dead:
            self._dead.discard(owner)
            await self._store.bury(owner)
            await self._buried(owner)
        return empty

    def _take(self, owner: str, claimed: list[tuple[str, bytes]] | None) -> None:
        """Go on with what was claimed."""
        if not claimed:
            return
        known = {call_id for _, call_ids in self._unsettled for call_id in call_ids}
        self._unsettled.append((owner, [call_id for call_id, _ in claimed]))
        for call_id, record in claimed:
            if call_id not in known:  # else it is ours already: Redis has not heard that yet
                self._on_result(self._adopted(record))

    def _adopted(self, record: bytes) -> Result:
        try:
            kept = decode(record)
        except msgspec.DecodeError as error:
            self._complain(f"a call of another version of the program cannot be taken over: {error}")
            return "lost"
        self._keeper.inherit(kept)
        result = self._adopt(kept)
        if result == "lost":
            self._keeper.disown(kept)
        return result

    async def _settle_again(self) -> None:
        """Let go of claims once what was claimed is kept under our name."""
        if not self._unsettled:
            return
        settling, self._unsettled = self._unsettled, []
        try:
            await self._keeper.flush()
            while settling:
                owner, call_ids = settling[0]
                await self._store.settle(owner, call_ids)
                del settling[0]
        finally:
            self._unsettled += settling

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            self._complaint = text
            self._on_error(text)

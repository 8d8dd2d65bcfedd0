"""What DNS said, for as long as it counts, and for as long as DNS is away (RFC 2308, RFC 8767)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from gateway.sip.dns_records import Answer, Dns, DnsError, Kind, Record

KNOWN_ANSWERS: Final = 4096
"""Answers remembered, up to four kinds for each name; the oldest goes first. 2 MB."""

MIN_LIFETIME: Final = 5.0
"""Seconds that an answer counts at least, whatever it says: not each call is to ask."""

MAX_LIFETIME: Final = 3600.0
"""Seconds that it counts at most: a mistaken lifetime of a week is over within the hour."""

PATIENCE: Final = 0.3
"""Seconds that a caller waits for a new answer while there is an old one; RFC 8767 §5 says 1.8 for people who
look at a page."""

RECHECK: Final = 5.0
"""Seconds in which DNS is not asked again after it failed: meanwhile an old answer counts again (RFC 8767
§5), or the failure does (RFC 2308 §7)."""

MAX_STALE: Final = 86_400.0
"""Seconds after its end in which an old answer is better than none."""

_Question: TypeAlias = tuple[str, Kind]


@dataclass(slots=True)
class _Known:
    records: tuple[Record, ...]
    fresh_until: float
    stale_until: float


class DnsMemory:
    """Answers from memory while they count, else from DNS; everybody with the same question waits for one.

    Belongs to one event loop.
    """

    def __init__(self, dns: Dns) -> None:
        self._dns = dns
        self._known: dict[_Question, _Known] = {}
        self._failed: dict[_Question, tuple[float, str]] = {}
        self._asking: dict[_Question, asyncio.Task[tuple[Record, ...]]] = {}

    def recall(self, name: str, kind: Kind) -> tuple[Record, ...]:
        """What was known last, however old; nothing if nothing ever was."""
        known = self._known.get((name, kind))
        return known.records if known else ()

    def fresh(self, name: str, kind: Kind) -> tuple[Record, ...] | None:
        """The records, if they are known and still count; None if DNS must be asked."""
        known = self._known.get((name, kind))
        if known is None or asyncio.get_running_loop().time() >= known.fresh_until:
            return None
        return known.records

    async def ask(self, name: str, kind: Kind) -> tuple[Record, ...]:
        """The records; none if there are none.

        Raises:
            DnsError: DNS is away, or fails, and nothing is known from before.

        """
        question = (name, kind)
        known = self._known.get(question)
        now = asyncio.get_running_loop().time()
        if known is not None and now < known.fresh_until:
            return known.records
        failed_until, fault = self._failed.get(question, (0.0, ""))
        if now < failed_until:
            raise DnsError(fault)
        asking = self._asking.get(question)
        if asking is None:
            asking = self._asking[question] = asyncio.create_task(self._ask(question))
            asking.add_done_callback(self._forget(question))
        if known is None or now >= known.stale_until:
            return await asyncio.shield(asking)
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(asking)
        except (TimeoutError, DnsError):
            return known.records

    async def close(self) -> None:
        """Give up what is being asked."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, question: _Question) -> tuple[Record, ...]:
        loop = asyncio.get_running_loop()
        try:
            answer = await self._dns.ask(*question)
        except DnsError as error:
            known = self._known.get(question)
            if known is not None and loop.time() < known.stale_until:
                known.fresh_until = loop.time() + RECHECK
            else:
                _make_room(self._failed)
                self._failed[question] = loop.time() + RECHECK, str(error)
            raise
        self._failed.pop(question, None)
        self._remember(question, answer, loop.time())
        return answer.records

    def _remember(self, question: _Question, answer: Answer, now: float) -> None:
        self._known.pop(question, None)
        _make_room(self._known)
        until = now + min(max(answer.lifetime, MIN_LIFETIME), MAX_LIFETIME)
        self._known[question] = _Known(answer.records, until, until + MAX_STALE)

    def _forget(self, question: _Question) -> Callable[[asyncio.Task[tuple[Record, ...]]], None]:
        def forget(task: asyncio.Task[tuple[Record, ...]]) -> None:
            del self._asking[question]
            if not task.cancelled():
                task.exception()  # seen, even if everybody who waited has gone

        return forget


def _make_room(table: dict[_Question, Any]) -> None:
    if len(table) >= KNOWN_ANSWERS:
        del table[next(iter(table))]

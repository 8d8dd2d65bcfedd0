"""Changes through the API while everything fails: each is asked for until it is taken, and then it counts.

What was taken last is what the API must say in the end, and what every gateway must serve by.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loadtests.faults.calls import Recorded

PAUSE: Final = 1.0
"""Seconds between changes."""

RETRY: Final = 0.5
"""Seconds until a change is asked for again that nobody has answered, or that cannot be stored just now."""


@dataclass(frozen=True, slots=True)
class Routed:
    """Where a number's calls go: to two agents, one after the other, by their ids."""

    agent: str
    fallback: str


@dataclass(slots=True)
class Routes:
    """numbers: by the number's id; endpoints: URLs by the agent's id."""

    numbers: dict[str, Routed]
    endpoints: dict[str, str]


class Changes:
    """Re-routes numbers and moves agents, one change after the other, until told to stop.

    Args:
        seed: of what is changed to what.
        ask: makes a PATCH with a path and a body; the status of the answer, None without one.
        routes: as they are in the beginning; afterwards as the API has taken them.
        pairs: what numbers may be routed to.
        endpoint: the URL of an agent by its id, another one for each number; `movable`: ids of those agents.
        places: of each endpoint.

    Attributes:
        taken: changes that the API has answered with 200; repeated: times that one had to be asked for again.
        refused: sentences, one for each that will never be taken.

    """

    def __init__(
        self,
        seed: int,
        ask: Callable[[str, Mapping[str, Any]], int | None],
        routes: Routes,
        *,
        pairs: Sequence[Routed],
        movable: Sequence[str],
        endpoint: Callable[[str, int], str],
        places: int,
    ) -> None:
        self.routes = routes
        self.taken = 0
        self.repeated = 0
        self.refused: list[str] = []
        self._dice = random.Random(seed)
        self._ask = ask
        self._pairs = list(pairs)
        self._movable = list(movable)
        self._endpoint = endpoint
        self._places = places
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="changes", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """Make no more; whether the last one was taken within so many seconds."""
        self._over.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._over.wait(PAUSE):
            self.make()

    def make(self) -> None:
        """One change, asked for until the API takes it or will never take it."""
        if self._dice.random() < 0.5:
            number = self._dice.choice(sorted(self.routes.numbers))
            routed = self._dice.choice(self._pairs)
            routing = {"agent_id": routed.agent, "fallback": {"agent_id": routed.fallback}}
            if self._taken(f"/v1/phone-numbers/{number}", {"inbound_routing": routing}):
                self.routes.numbers[number] = routed
        else:
            agent = self._dice.choice(self._movable)
            url = self._endpoint(agent, self.taken + 1)
            endpoints = [{"url": url, "max_calls": self._places}]
            if self._taken(f"/v1/agents/{agent}", {"endpoints": endpoints}):
                self.routes.endpoints[agent] = url

    def _taken(self, path: str, body: Mapping[str, Any]) -> bool:
        while True:
            status = self._ask(path, body)
            if status == 200:
                self.taken += 1
                return True
            if status is not None and status < 500 and status != 429:
                self.refused.append(f"{path}: {status}")
                return False
            self.repeated += 1
            threading.Event().wait(RETRY)


def lost(taken: Routes, shown: Routes) -> list[str]:
    """What the API does not say, although it has taken it: a sentence for each."""
    numbers = [
        f"{number} goes to {shown.numbers.get(number)} in place of {routed}"
        for number, routed in taken.numbers.items()
        if shown.numbers.get(number) != routed
    ]
    return numbers + [
        f"{agent} is at {shown.endpoints.get(agent)} in place of {url}"
        for agent, url in taken.endpoints.items()
        if shown.endpoints.get(agent) != url
    ]


def served_otherwise(
    node: str, records: Sequence[Recorded], numbers: Mapping[str, str], routes: Routes
) -> list[str]:
    """Where a gateway does not do what the routes say, by the records of calls that were placed to find out.

    numbers: their ids by the telephone numbers that were called, each of them once.
    """
    asked = {record.number: record.tried[:1] for record in records}
    found: list[str] = []
    for number, number_id in numbers.items():
        wanted = (routes.endpoints[routes.numbers[number_id].agent],)
        if asked.get(number) != wanted:
            found.append(f"{node} sends {number_id} to {asked.get(number)} in place of {wanted}")
    return found

"""All routes in memory: what lookups on the call path are answered from.

A million numbers fit: records stay encoded (one bytes object each, which the garbage collector never looks
at) and are decoded when they are asked for, in about a microsecond.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import DecodeError

from routing.cache import Change, Kind, decode_agent, decode_number
from routing.models import Agent, PhoneNumber
from routing.table import Table

EMPTY_EPOCH: Final = ""

DECODED_NUMBERS: Final = 4_096
"""Numbers kept decoded as well, those that were called last: some 4 MB. When there are as many, all of them
are let go of, which costs each its decoding once more."""

PIECE: Final = 1_000
"""Numbers decoded without letting anybody else run: about a millisecond."""


class RouteView:
    """Numbers and agents of one data set, at one revision.

    A record that cannot be read, such as one of a newer version, is as good as none.
    """

    __slots__ = ("_agents", "_decoded_agents", "_decoded_numbers", "_numbers", "epoch", "mark", "revision")

    def __init__(self, epoch: str = EMPTY_EPOCH, revision: int = 0, mark: str = "") -> None:
        self.epoch = epoch
        self.revision = revision
        self.mark = mark
        self._numbers = Table()
        self._agents = Table()
        self._decoded_agents: dict[str, Agent] = {}
        self._decoded_numbers: dict[str, PhoneNumber] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, phone_number: str) -> PhoneNumber | None:
        """The number of that E.164 form."""
        number = self._decoded_numbers.get(phone_number)
        if number is None:
            value = self._numbers.get(phone_number)
            if value is None:
                return None
            number = _number(value)
            if number is not None:
                if len(self._decoded_numbers) >= DECODED_NUMBERS:
                    self._decoded_numbers.clear()
                self._decoded_numbers[phone_number] = number
        return number

    def get(self, agent_id: str) -> Agent | None:
        """The agent of that id."""
        agent = self._decoded_agents.get(agent_id)
        if agent is None:
            value = self._agents.get(agent_id)
            if value is None:
                return None
            try:
                agent = self._decoded_agents[agent_id] = decode_agent(value)
            except DecodeError:
                return None
        return agent

    def count(self) -> int:
        """Numbers and agents, readable or not."""
        return len(self._numbers) + len(self._agents)

    def agents(self) -> list[Agent]:
        """Every agent that can be read."""
        keys = (agent_id for part in self._agents.parts() for agent_id in part)
        return [agent for agent_id in keys if (agent := self.get(agent_id)) is not None]

    def pieces(self) -> Iterator[list[PhoneNumber]]:
        """Every number that can be read, a few at a time."""
        for part in self._numbers.parts():
            values = list(part.values())
            for start in range(0, len(values), PIECE):
                read = map(_number, values[start : start + PIECE])
                yield [number for number in read if number is not None]

    def apply(self, change: Change) -> None:
        """Take a change over."""
        if change.kind == "agent":
            self._decoded_agents.pop(change.key, None)
            self._agents.put(change.key, change.value)
        else:
            self._decoded_numbers.pop(change.key, None)
            self._numbers.put(change.key, change.value)

    def parts(self) -> Iterator[tuple[Kind, dict[str, bytes]]]:
        """Everything encoded, in parts, each a copy; for the snapshot, which is written in a thread."""
        for part in self._agents.parts():
            yield "agent", part
        for part in self._numbers.parts():
            yield "number", part


def _number(value: bytes) -> PhoneNumber | None:
    try:
        return decode_number(value)
    except DecodeError:
        return None

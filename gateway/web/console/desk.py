"""What the console asks of the gateway; the composition root fulfils it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from msgspec import Struct

from gateway.admission.doorkeeper import TurnedAway
from gateway.calls.explain import Step
from routing.call_records import CallShown, TraceRung
from routing.models import Agent, Endpoint, PhoneNumber
from routing.nodes import NodeShown


class HistoryAway(Exception):  # noqa: N818 - it names what is wrong outside of us
    """The store of calls cannot be asked now."""


class NodesAway(Exception):  # noqa: N818 - it names what is wrong outside of us
    """Redis cannot be asked now who else there is."""


class LiveRow(Struct, frozen=True, array_like=True):
    """A live call as the list has it; the fields are those of `CallShown`."""

    id: str
    state: str
    began: float
    carrier: str
    caller: str
    number: str
    position: int
    planned: int
    destination: str
    mos: float | None


class Principal(Protocol):
    """Who has logged in."""

    @property
    def scopes(self) -> frozenset[str]:
        """`read`, `write`."""


class Keys(Protocol):
    """API keys."""

    async def find(self, key: str) -> Principal | None:
        """Who brings this key; None if nobody may."""


class Desk(Protocol):
    """One gateway."""

    @property
    def name(self) -> str:
        """What tells it from others."""

    @property
    def draining(self) -> bool:
        """It takes no new calls."""

    async def rows(self) -> list[LiveRow]:
        """The calls that go on, the newest first."""

    async def find(self, call_id: str) -> CallShown | None:
        """A call, over or not. Raises HistoryAway."""

    async def search(
        self, text: str, *, refused: bool, cursor: str, limit: int
    ) -> tuple[list[CallShown], str]:
        """Calls that are over, newest first, and the next page's cursor or nothing. Raises HistoryAway."""

    async def hang_up(self, call_id: str) -> bool:
        """End a call; False if it is over."""

    async def drain(self, draining: bool) -> None:
        """Take no new calls from now on, or take them again."""

    def has(self, node: str) -> bool:
        """Whether that name, of a call's, is this gateway's or that of one of its processes."""

    async def trace(self, call: CallShown) -> Sequence[TraceRung]:
        """What happened in a call, in order; may raise OSError."""

    async def trace_text(self, call: CallShown) -> str:
        """The same for people; may raise OSError."""

    async def trace_capture(self, call: CallShown) -> bytes:
        """Its packets as a pcap file; may raise OSError."""

    async def turned_away(self) -> list[TurnedAway]:
        """Who never got past the door lately, the latest first."""

    def agents(self) -> list[Agent]:
        """Every agent that is known."""

    def obstacle(self, agent: Agent, endpoint: Endpoint) -> str | None:
        """Why a call would not be tried there now."""

    def calls_at(self, agent_id: str) -> int:
        """Calls in progress at an agent."""

    async def nodes(self) -> Sequence[NodeShown]:
        """Every gateway of this deployment. Raises NodesAway."""

    def number(self, phone_number: str) -> PhoneNumber | None:
        """The number of that E.164 form."""

    def numbers(self) -> AsyncIterator[PhoneNumber]:
        """Every number that is known, in no order."""

    def count_numbers(self) -> int:
        """How many there are."""

    def shown(self, number: str) -> str:
        """A telephone number as it may be shown."""

    def sources(self) -> list[tuple[str, str]]:
        """Each carrier with an address of its own."""

    def explain(self, dialled: str, source: str, caller: str | None) -> Sequence[Step]:
        """What would happen to a call."""

"""What the console shows, as this process has it: the desk between the gateway's parts and its pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Final

from gateway.admission.doorkeeper import TurnedAway
from gateway.calls.explain import Step, explain
from gateway.calls.keeping import state_of
from gateway.kept_history import KeptHistory
from gateway.media.quality import stream_mos
from gateway.node import GatewayNode
from gateway.web.console.desk import LiveRow, NodesAway
from routing.call_records import CallShown, TraceRung, mask_number
from routing.heartbeat import FAILURES as NODE_FAILURES
from routing.models import Agent, Endpoint, PhoneNumber
from routing.nodes import NodeRegistry, NodeShown

if TYPE_CHECKING:
    from gateway.api_service import Calls
    from gateway.app import Gateway
    from gateway.calls.call import Call
    from gateway.calls.registry import Registry


TURN: Final = 100
"""Calls looked at without letting anybody else run: a millisecond."""


class ConsoleDesk(KeptHistory):
    """See `gateway.web.console.desk.Desk`.

    Args:
        gateway: all of it.
        node: of it, as the API sees it.
        calls: the history; nodes: who knows all gateways.
        mask: show no telephone numbers.

    """

    def __init__(
        self,
        gateway: Gateway,
        node: GatewayNode,
        calls: Calls,
        *,
        mask: bool,
        nodes: NodeRegistry | None = None,
    ) -> None:
        super().__init__(calls)
        self._gateway = gateway
        self._node = node
        self._nodes = nodes
        self._mask = mask
        self.name = node.name
        self.hang_up = node.hang_up
        self.drain = node.drain
        self.has = node.has

    @property
    def draining(self) -> bool:
        """See `Desk`."""
        return self._node.draining

    async def rows(self) -> list[LiveRow]:
        """See `Desk`."""
        return await live_rows(self._gateway.registry, self._mask)

    async def trace(self, call: CallShown) -> Sequence[TraceRung]:
        """See `Desk`."""
        return await self._node.trace(call)

    async def trace_text(self, call: CallShown) -> str:
        """See `Desk`."""
        return await self._node.trace_text(call)

    async def trace_capture(self, call: CallShown) -> bytes:
        """See `Desk`."""
        return await self._node.trace_capture(call)

    async def turned_away(self) -> list[TurnedAway]:
        """See `Desk`."""
        return self._gateway.door.lately()

    def agents(self) -> list[Agent]:
        """See `Desk`."""
        return self._gateway.replica.view.agents()

    def obstacle(self, agent: Agent, endpoint: Endpoint) -> str | None:
        """See `Desk`."""
        return self._gateway.health.obstacle(agent, endpoint)

    def calls_at(self, agent_id: str) -> int:
        """See `Desk`."""
        return self._gateway.health.calls(agent_id)

    async def nodes(self) -> Sequence[NodeShown]:
        """See `Desk`."""
        if self._nodes is None:
            return []
        try:
            return await self._nodes.nodes()
        except NODE_FAILURES as error:
            raise NodesAway(str(error)) from None

    def number(self, phone_number: str) -> PhoneNumber | None:
        """See `Desk`."""
        return self._gateway.replica.view.number(phone_number)

    async def numbers(self) -> AsyncIterator[PhoneNumber]:
        """See `Desk`; gives way after each thousand."""
        for piece in self._gateway.replica.view.pieces():
            for number in piece:
                yield number
            await asyncio.sleep(0)

    def count_numbers(self) -> int:
        """See `Desk`."""
        return len(self._gateway.replica.view)

    def shown(self, number: str) -> str:
        """See `Desk`."""
        return mask_number(number) if self._mask else number

    def sources(self) -> list[tuple[str, str]]:
        """See `Desk`."""
        return [
            (carrier.name, str(carrier.sources[0].network_address))
            for carrier in self._gateway.carriers
            if carrier.sources
        ]

    def explain(self, dialled: str, source: str, caller: str | None) -> Sequence[Step]:
        """See `Desk`."""
        gateway, settings = self._gateway, self._gateway.settings
        return explain(
            dialled,
            source,
            carriers=gateway.carriers,
            limits=gateway.limits,
            active_calls=len(gateway.registry),
            numbers=gateway.replica,
            agents=gateway.replica.agents,
            health=gateway.health,
            default_voicemail=settings.voicemail.default_message,
            endpoint_template=settings.agents.endpoint_template,
            default_recording=settings.recording.policy,
            caller=caller,
        )


async def live_rows(registry: Registry, mask: bool) -> list[LiveRow]:
    """A process's live calls as the console lists them, the newest first; gives way now and then."""
    rows = []
    for count, call in enumerate(reversed(list(registry)), 1):
        rows.append(_row(call, mask_number if mask else str))
        if count % TURN == 0:
            await asyncio.sleep(0)
    return rows


def _row(call: Call, shown: Callable[[str], str]) -> LiveRow:
    record, heard = call.record, call.audio.heard
    mos = None if heard is None else stream_mos(heard)
    return LiveRow(
        call.id,
        state_of(call),
        record.started_at,
        record.carrier,
        shown(record.caller),
        shown(call.dialled),
        record.plan.index(call.destination) + 1 if call.destination in record.plan else 0,
        len(record.plan),
        call.destination,
        None if mos is None else round(mos, 1),
    )

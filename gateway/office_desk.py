"""The gateway of many workers as its API and its console see it: every question goes to all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from gateway.admission.carriers import CarrierTable
from gateway.admission.doorkeeper import MAX_AWAY, TurnedAway
from gateway.admission.limits import AdmissionLimits
from gateway.calls.explain import Step, explain
from gateway.config import Settings
from gateway.kept_history import KeptHistory
from gateway.web.console.desk import LiveRow, NodesAway
from gateway.worker_client import FAILURES, WorkerClient, of_each
from gateway.worker_web import State
from routing.call_records import CallShown, TraceRung, mask_number
from routing.heartbeat import FAILURES as NODE_FAILURES
from routing.models import Agent, Endpoint, PhoneNumber
from routing.nodes import NodeRegistry, NodeShown
from routing.replica import Replica

if TYPE_CHECKING:
    from gateway.api_service import Calls


class OfficeNode:
    """See `api.live_gateway.LiveGateway`.

    Args:
        name: of the node; its workers' names begin with it.
        own: its workers that take new calls.
        workers: all of them: those of earlier versions that finish their calls, too.
        states: what each has told last, by slot.

    Attributes:
        drains: it was asked to take no new calls.

    """

    def __init__(
        self,
        name: str,
        own: Sequence[WorkerClient],
        workers: Sequence[WorkerClient],
        states: Mapping[int, State],
    ) -> None:
        self.name = name
        self.drains = False
        self._own = own
        self._workers = workers
        self._states = states

    @property
    def draining(self) -> bool:
        """See `LiveGateway`: all of its own drain."""
        told = [self._states[each.slot] for each in self._own if each.slot in self._states]
        return bool(told) and all(state.draining for state in told)

    async def live(self) -> list[CallShown]:
        """See `LiveGateway`; a worker that does not answer has none to show."""
        answers = await of_each(self._workers, WorkerClient.live)
        return sorted((call for _, calls in answers for call in calls), key=lambda call: call.began)

    async def find(self, call_id: str) -> CallShown | None:
        """See `LiveGateway`."""
        answers = await of_each(self._workers, lambda worker: worker.find(call_id))
        return next((call for _, call in answers if call is not None), None)

    async def hang_up(self, call_id: str) -> bool:
        """See `LiveGateway`."""
        answers = await of_each(self._workers, lambda worker: worker.hang_up(call_id))
        return any(done for _, done in answers)

    async def drain(self, draining: bool) -> None:
        """See `LiveGateway`; a worker that is started later on is told at its start."""
        self.drains = draining
        await of_each(self._own, lambda worker: worker.drain(draining))

    def has(self, node: str) -> bool:
        """See `LiveGateway`."""
        return any(node == f"{self.name}/{worker.slot}" for worker in self._workers)

    async def trace(self, call: CallShown) -> Sequence[TraceRung]:
        """See `LiveGateway`."""
        with _told_as_os_error():
            return await self._of(call).trace(call)

    async def trace_text(self, call: CallShown) -> str:
        """See `LiveGateway`."""
        with _told_as_os_error():
            return await self._of(call).trace_text(call)

    async def trace_capture(self, call: CallShown) -> bytes:
        """See `LiveGateway`."""
        with _told_as_os_error():
            return await self._of(call).trace_capture(call)

    def _of(self, call: CallShown) -> WorkerClient:
        for worker in self._workers:
            if call.node == f"{self.name}/{worker.slot}":
                return worker
        raise OSError(0, f"the trace of {call.id} is on {call.node}")


@contextlib.contextmanager
def _told_as_os_error() -> Iterator[None]:
    """What asking a worker may raise, as `LiveGateway` says it."""
    try:
        yield
    except FAILURES as error:
        raise OSError(0, f"the worker that has it does not answer: {error}") from None


class OfficeDesk(KeptHistory):
    """See `gateway.web.console.desk.Desk`.

    Args:
        node: all workers as one.
        workers, states: as `OfficeNode` has them.
        calls: the history.
        settings: the office's.
        replica: routes.
        nodes: who knows all gateways.
        carriers: who may call, now.

    """

    def __init__(
        self,
        node: OfficeNode,
        workers: Sequence[WorkerClient],
        states: Mapping[int, State],
        calls: Calls,
        settings: Settings,
        replica: Replica,
        nodes: NodeRegistry,
        carriers: Callable[[], CarrierTable],
    ) -> None:
        super().__init__(calls)
        self._node = node
        self._workers = workers
        self._states = states
        self._settings = settings
        self._replica = replica
        self._nodes = nodes
        self._carriers = carriers
        self._mask = settings.logs.mask_personal_data
        self.name = node.name
        self.hang_up = node.hang_up
        self.drain = node.drain
        self.has = node.has
        self.trace = node.trace
        self.trace_text = node.trace_text
        self.trace_capture = node.trace_capture

    @property
    def draining(self) -> bool:
        """See `Desk`."""
        return self._node.draining

    async def rows(self) -> list[LiveRow]:
        """See `Desk`."""
        answers = await of_each(self._workers, WorkerClient.rows)
        rows = [row for _, told in answers for row in told]
        return sorted(rows, key=lambda row: row.began, reverse=True)

    async def nodes(self) -> Sequence[NodeShown]:
        """See `Desk`."""
        try:
            return await self._nodes.nodes()
        except NODE_FAILURES as error:
            raise NodesAway(str(error)) from None

    async def turned_away(self) -> list[TurnedAway]:
        """See `Desk`: who was turned away by several is there once."""
        found: dict[tuple[str, str], TurnedAway] = {}
        for _, told in await of_each(self._workers, WorkerClient.away):
            for each in told:
                before = found.get((each.who, each.rule))
                if before is not None:
                    each = TurnedAway(each.who, each.rule, each.count + before.count, max(each.at, before.at))
                found[each.who, each.rule] = each
        return sorted(found.values(), key=lambda each: each.at, reverse=True)[:MAX_AWAY]

    def agents(self) -> list[Agent]:
        """See `Desk`."""
        return self._replica.view.agents()

    def obstacle(self, agent: Agent, endpoint: Endpoint) -> str | None:
        """See `Desk`: what one worker knows against it; calls on others may still go there."""
        for state in self._states.values():
            for closed in state.closed:
                if (closed.agent_id, closed.url) == (agent.id, endpoint.url):
                    return closed.obstacle
        return None

    def calls_at(self, agent_id: str) -> int:
        """See `Desk`."""
        return sum(state.agents.get(agent_id, 0) for state in self._states.values())

    def number(self, phone_number: str) -> PhoneNumber | None:
        """See `Desk`."""
        return self._replica.view.number(phone_number)

    async def numbers(self) -> AsyncIterator[PhoneNumber]:
        """See `Desk`; gives way after each thousand."""
        for piece in self._replica.view.pieces():
            for number in piece:
                yield number
            await asyncio.sleep(0)

    def count_numbers(self) -> int:
        """See `Desk`."""
        return len(self._replica.view)

    def shown(self, number: str) -> str:
        """See `Desk`."""
        return mask_number(number) if self._mask else number

    def sources(self) -> list[tuple[str, str]]:
        """See `Desk`."""
        return [
            (carrier.name, str(carrier.sources[0].network_address))
            for carrier in self._carriers()
            if carrier.sources
        ]

    def explain(self, dialled: str, source: str, caller: str | None) -> Sequence[Step]:
        """See `Desk`."""
        settings = self._settings
        return explain(
            dialled,
            source,
            carriers=self._carriers(),
            limits=AdmissionLimits(settings.admission.max_active_calls, self.draining, self._replica.loaded),
            active_calls=sum(state.calls for state in self._states.values()),
            numbers=self._replica,
            agents=self._replica.agents,
            health=self,
            default_voicemail=settings.voicemail.default_message,
            endpoint_template=settings.agents.endpoint_template,
            default_recording=settings.recording.policy,
            caller=caller,
        )

"""The gateway as its API and its console see it: live calls, traces, drain."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from gateway.admission.limits import AdmissionLimits
from gateway.calls.keeping import live
from gateway.calls.registry import Registry
from gateway.config import Settings
from gateway.traces.of_call import CallTraces
from routing.call_records import CallShown, TraceRung, masked

HANGUP_REASON = "ended by an operator"


class GatewayNode:
    """See `api.live_gateway.LiveGateway`.

    Args:
        name: what tells it from others.
        registry: calls that are alive.
        limits: what drains.
        mask: show no telephone numbers.

    Attributes:
        traces: to be set before anybody asks; None keeps none.

    """

    def __init__(self, name: str, registry: Registry, limits: AdmissionLimits, *, mask: bool = False) -> None:
        self.name = name
        self.traces: CallTraces | None = None
        self._registry = registry
        self._limits = limits
        self._mask = mask

    @property
    def draining(self) -> bool:
        """See `LiveGateway`."""
        return self._limits.draining

    async def live(self) -> list[CallShown]:
        """See `LiveGateway`."""
        return [self._shown(live(call, self.name)) for call in self._registry]

    async def find(self, call_id: str) -> CallShown | None:
        """See `LiveGateway`."""
        call = self._registry.get(call_id)
        return None if call is None else self._shown(live(call, self.name))

    async def hang_up(self, call_id: str) -> bool:
        """See `LiveGateway`."""
        call = self._registry.get(call_id)
        if call is None:
            return False
        call.dismiss(HANGUP_REASON, 480)
        return True

    async def drain(self, draining: bool) -> None:
        """See `LiveGateway`."""
        self._limits.draining = draining

    def has(self, node: str) -> bool:
        """See `LiveGateway`."""
        return node == self.name

    async def trace(self, call: CallShown) -> Sequence[TraceRung]:
        """See `LiveGateway`."""
        return [] if self.traces is None else await self.traces.rungs(call)

    async def trace_text(self, call: CallShown) -> str:
        """See `LiveGateway`."""
        return (
            "traces are off (traces.max_total_bytes)\n"
            if self.traces is None
            else await self.traces.text(call)
        )

    async def trace_capture(self, call: CallShown) -> bytes:
        """See `LiveGateway`."""
        return b"" if self.traces is None else await self.traces.capture(call)

    def _shown(self, call: CallShown) -> CallShown:
        return masked(call) if self._mask else call


def node_name(settings: Settings, slot: int = 0) -> str:
    """The machine's name and the SIP port: several gateways on one machine have different ones.

    slot: of a worker, from 1 (`gateway.workers`): `host:5060/2`; the same again after its crash, and never
        that of another process alive. 0 for a gateway that is one process.
    """
    port = settings.sip.listen[0].rpartition(":")[2] if settings.sip.listen else ""
    name = f"{socket.gethostname()}:{port}" if port else socket.gethostname()
    return f"{name}/{slot}" if slot else name

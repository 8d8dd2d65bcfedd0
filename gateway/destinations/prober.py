"""Asking endpoints whether they are alive, so that a caller does not have to find out."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from typing import Protocol

from gateway.destinations import stream_probe
from gateway.destinations.trunk import SipOut
from gateway.sip.digest_client import CHALLENGED
from gateway.sip.events import FailureCause
from gateway.sip.flow import Flow
from gateway.sip.message import Response
from routing.models import Agent, Endpoint

TICK = 1.0
"""Seconds between looks at who is due; how often each endpoint is asked is for `ProbedHealth` to say."""

PROBE_TIMEOUT = 5.0
"""Seconds for an answer to OPTIONS: one that is slower than that cannot take a call in time."""

MAX_AT_ONCE = 50
"""Probes under way: a burst of OPTIONS must not delay calls."""

NOT_NOW = frozenset({408, 503, 504})
"""Answers of an endpoint that is alive and wants no calls."""

SILENT = "no answer to OPTIONS"
UNREACHABLE = "nothing listens there, or no way leads there"


class ProbedHealth(Protocol):
    """What knows whom to ask, and wants to hear what came of it."""

    def due_probes(self, agents: Iterable[Agent]) -> list[tuple[Agent, Endpoint]]:
        """Endpoints to be asked now; each is told about by `probed` before it is due again."""

    def probed(self, agent: Agent, endpoint: Endpoint, alive: bool, reason: str = "") -> None:
        """What came of it."""


class Prober:
    """Sends OPTIONS (RFC 3261 §11) to the SIP endpoints that are due, and connects to the WebSocket ones.

    Args:
        trusted: whose certificates are believed.
        agents: the agents that are routed to at the moment.

    """

    def __init__(
        self,
        sip: SipOut,
        trusted: ssl.SSLContext,
        health: ProbedHealth,
        agents: Callable[[], Iterable[Agent]],
    ) -> None:
        self._sip = sip
        self._trusted = trusted
        self._health = health
        self._agents = agents

    async def run(self) -> None:
        """Probe for as long as the task lives."""
        while True:
            await self.probe_due()
            await asyncio.sleep(TICK)

    async def probe_due(self) -> None:
        """Ask everybody who is due, a few at a time."""
        due = self._health.due_probes(self._agents())
        for start in range(0, len(due), MAX_AT_ONCE):
            batch = due[start : start + MAX_AT_ONCE]
            await asyncio.gather(*(self._probe(agent, endpoint) for agent, endpoint in batch))

    async def _probe(self, agent: Agent, endpoint: Endpoint) -> None:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                if endpoint.is_sip:
                    fault = await fault_of(self._sip, endpoint)
                else:
                    fault = await stream_probe.fault_of(endpoint.url, self._trusted)
        except OSError as error:  # a TimeoutError among them
            fault = str(error) or (SILENT if endpoint.is_sip else "no connection in time")
        except asyncio.CancelledError:
            self._health.probed(agent, endpoint, alive=True)  # we are stopping: nothing was found out
            raise
        self._health.probed(agent, endpoint, alive=fault is None, reason=fault or "")


async def fault_of(sip: SipOut, endpoint: Endpoint) -> str | None:
    """What is wrong with an endpoint, by OPTIONS. Any answer shows life, but for those that say "not now".

    An endpoint with several servers is well while one of them is; those that are not go behind the others.

    Raises:
        OSError: no way leads there.

    """
    fault: str | None = UNREACHABLE
    ways = await sip.ways(endpoint.request_uri)
    for flow in ways:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT / len(ways)):
                fault = await _fault_by(sip, endpoint, flow)
        except TimeoutError:
            fault = SILENT
        if fault is None:
            break
        sip.way_failed(flow)
    return fault


async def _fault_by(sip: SipOut, endpoint: Endpoint, flow: Flow) -> str | None:
    answered: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    token = endpoint.auth_token
    account = None if token is None else sip.account(endpoint.username, token)

    def answer(response: Response | None, cause: FailureCause) -> None:
        if answered.done():
            return
        if response is None:
            answered.set_result(SILENT if cause == "timeout" else UNREACHABLE)
        elif response.status in NOT_NOW:
            answered.set_result(f"OPTIONS: {response.status} {response.reason}")
        elif account is not None and response.status in CHALLENGED:
            answered.set_result(f"OPTIONS: {response.status}: it does not take our username and password")
        else:
            answered.set_result(None)

    sip.request("OPTIONS", endpoint.request_uri, flow, digest=account, on_result=answer)
    return await answered

"""How SIP agents are reached: the way out, the knowledge of who is up, and the clocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.destinations.transfers import Transfers
from gateway.media.rtpengine import RtpEngines
from gateway.sip.digest_client import DigestClient
from gateway.sip.events import FailureCause
from gateway.sip.flow import Flow
from gateway.sip.grammar import SipParseError
from gateway.sip.leg import HeaderList, Listener
from gateway.sip.message import Response
from gateway.sip.outbound_leg import OutboundLeg
from gateway.sip.uri import SipUri, parse_uri
from routing.models import Agent, Endpoint


class SipOut(Protocol):
    """The agent side of `SipEndpoint`."""

    async def ways(self, uri: str) -> tuple[Flow, ...]:
        """Find the ways to a SIP URI, best first. Raises an OSError when there is none."""

    def way_stated(self, uri: str) -> Flow | None:
        """The way that a URI states by an address; None if `ways` has to look. Raises an OSError."""

    def way_failed(self, flow: Flow) -> None:
        """Learn that a way led to nobody, so that others are tried first for a while."""

    def invite(
        self,
        uri: str,
        flow: Flow,
        *,
        from_: str,
        to: str,
        body: bytes,
        content_type: str = "application/sdp",
        headers: HeaderList = (),
        listener: Listener,
    ) -> OutboundLeg:
        """See `UserAgent.invite`."""

    def account(self, username: str, password: str) -> DigestClient:
        """See `SipEndpoint.account`."""

    def request(
        self,
        method: str,
        uri: str,
        flow: Flow,
        *,
        headers: HeaderList = (),
        digest: DigestClient | None = None,
        on_result: Callable[[Response | None, FailureCause], None],
    ) -> None:
        """See `UserAgent.request`."""


class Lease(Protocol):
    """One call's place at an endpoint (``max_calls``), and the way to tell how the endpoint did."""

    def succeeded(self) -> None:
        """The endpoint is alive: it answered, or refused this one call in good order."""

    def failed(self, reason: str) -> None:
        """The endpoint is in trouble; enough of these open its circuit."""

    def release(self) -> None:
        """Give the place back. Idempotent."""


class Health(Protocol):
    """Which endpoints of an agent are worth a try, best first."""

    def order(self, agent: Agent) -> Sequence[Endpoint]:
        """The agent's endpoints that are not known to be down or full, in the order to be tried."""

    async def acquire(self, agent: Agent, endpoint: Endpoint) -> Lease | None:
        """Take a place at an endpoint, within 200 ms; None when it is full or its circuit has opened."""

    def hold(self, agent: Agent, endpoint: Endpoint) -> Lease:
        """Take a place for a call that goes on there already, however full it is: it was taken over."""


class NobodysHealth:
    """Fulfils `Health` for endpoints that are no agent's: tried whenever asked for, and not remembered."""

    def order(self, agent: Agent) -> Sequence[Endpoint]:
        """See `Health`."""
        return agent.endpoints

    async def acquire(self, agent: Agent, endpoint: Endpoint) -> Lease | None:
        """See `Health`."""
        return NobodysLease()

    def hold(self, agent: Agent, endpoint: Endpoint) -> Lease:
        """See `Health`."""
        return NobodysLease()


class NobodysLease:
    """Fulfils `Lease`."""

    def succeeded(self) -> None:
        """See `Lease`."""

    def failed(self, reason: str) -> None:
        """See `Lease`."""

    def release(self) -> None:
        """See `Lease`."""


@dataclass(frozen=True, slots=True)
class Trunk:
    """What every SIP agent is reached through; one for the whole gateway.

    sip: the way out; health: who is up.
    domain: the host in our From header.
    response_timeout: seconds until an endpoint must have sent any response.
    ring_timeout: seconds until the agent must have answered, over all of its endpoints.
    agent_silence_timeout: seconds without RTP after which an agent is taken for dead; 0 for never.
    caller_silence_timeout: likewise for the caller.
    max_duration: seconds that any call may last.
    transcoding: whether agents are offered codecs that the caller does not speak.
    transfers: where agents may send their callers; None: nowhere.
    engines: who relays audio between carriers and agents in our place; None: nobody.
    own_relay: whether we do where none of them takes a call; otherwise the carrier is told 503.
    on_own_relay: told each time that happens, and why.
    trusted_hosts: of agents' endpoints that are told who a caller is who withholds that (RFC 3325);
        ``*.example.com`` for all below it.
    """

    sip: SipOut
    health: Health
    domain: str
    response_timeout: float = 2.0
    ring_timeout: float = 20.0
    agent_silence_timeout: float = 15.0
    caller_silence_timeout: float = 300.0
    max_duration: float = 4 * 3600.0
    transcoding: bool = True
    transfers: Transfers | None = None
    trusted_hosts: tuple[str, ...] = ()
    engines: RtpEngines | None = None
    own_relay: bool = True
    on_own_relay: Callable[[str], None] = lambda reason: None

    def trusts(self, uri: str) -> bool:
        """Whether an endpoint's URI is within the trust domain."""
        if not self.trusted_hosts:
            return False
        try:
            target = parse_uri(uri)
        except SipParseError:
            return False
        host = target.host.lower() if isinstance(target, SipUri) else ""
        return any(
            host.endswith(trusted[1:]) if trusted.startswith("*.") else host == trusted
            for trusted in self.trusted_hosts
        )

"""The SIP user agent with its sockets: what the rest of the house calls, and is called by.

Carriers and agents each have listeners of their own, so that who may say what is known from the socket a
message came by (`gateway.sip.ingress`), and so that a Contact leads back to the right side.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.sip.addresses import AddressError, is_ip_literal, is_public, parse_address, same_family
from gateway.sip.bridge import Bridge, ErrorHandler, Observer, Witness
from gateway.sip.digest_client import DigestClient
from gateway.sip.digest_server import Authenticator
from gateway.sip.events import FailureCause
from gateway.sip.extensions import Extensions
from gateway.sip.flow import Flow
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.ingress import AgentIngress, CarrierIngress
from gateway.sip.leg import HeaderList, Listener
from gateway.sip.leg_state import LegState
from gateway.sip.listeners import ListenError, Listeners, Side
from gateway.sip.message import Response
from gateway.sip.network import Address, Network, Receiver
from gateway.sip.outbound_leg import OutboundLeg
from gateway.sip.rebuilt_legs import RebuiltLeg
from gateway.sip.resolver import ResolveError, Resolver
from gateway.sip.sink import TokenSource
from gateway.sip.stray_request import StrayRequest
from gateway.sip.transport import SocketNetwork
from gateway.sip.user_agent import Sender, StatusAndHeaders, UserAgent

CARRIERS_KEY: Final = "sip.listen"
CARRIERS_TLS_KEY: Final = "sip.tls_listen"
OWN_KEY: Final = "workers.port"
OWN_TLS_KEY: Final = "workers.tls_port"
AGENTS_KEY: Final = "sip.agent_listen"
AGENTS_TLS_KEY: Final = "sip.agent_tls_listen"

TOKEN_BYTES: Final = 8
"""64 random bits a tag or branch: RFC 3261 §19.3 asks for 32 at least."""


LOOK_SECONDS: Final = 0.4
"""For a dialog to be found elsewhere and rebuilt: two answers of Redis on the call path
(`routing.redis_clients.HOT_TIMEOUT`), and less than T1, so that nobody sends his request again meanwhile."""

TOKENS_AT_ONCE: Final = 256
"""Tokens drawn in one system call: a call needs six, and asking for each would cost more than its parsing."""


def random_tokens() -> TokenSource:
    """Tags and branches from the system's randomness."""
    digits = 2 * TOKEN_BYTES
    drawn, position = "", 0

    def token() -> str:
        nonlocal drawn, position
        if position == len(drawn):
            drawn, position = secrets.token_hex(TOKEN_BYTES * TOKENS_AT_ONCE), 0
        position += digits
        return drawn[position - digits : position]

    return token


class SipEndpoint:
    """A user agent towards carriers and towards agents. Made, started and stopped in one running event loop.

    Args:
        listen: where carriers reach us, ``host:port`` with an IP literal, each for UDP and TCP; may be empty.
        agent_listen: where agents reach us, likewise; port 0 for a free one.
        tls_listen, agent_tls_listen: the same for TLS; `network` must speak it then.
        own_listen, own_tls_listen: where carriers reach this process alone, if other processes share `listen`
            with it; Contact and Via name these.
        steer, steer_own: what stands between the shared listeners, or those of its own, and who hears
            carriers.
        admit: whose address this is (an IP literal), asked before anything is parsed; None for a stranger's.
            What it returns becomes `InboundLeg.peer`.
        within_rate, may_refuse: see `gateway.sip.ingress.CarrierIngress`.
        refuse_call: why a new call of an admitted source is not taken, see `UserAgent`.
        admit_name: likewise, for a name in the certificate of a TLS client; None where none is asked for.
        authenticator: likewise, for strangers who know a password; None where nobody has one.
        on_invite: called with each new call, see `UserAgent`. If it raises, the call is refused with 500.
        on_trying: told, for each new call, the seconds from its INVITE's arrival until its 100 was sent.
        options_status: what an OPTIONS outside of a dialog is answered: status and headers.
        observer: counts.
        on_error: told where an exception was caught that nobody should have raised, and which.
        witness: sees every message, for traces.
        on_turned_away: told each address of the carriers' side that was not heard, and why.
        is_edge: whether this address is an edge proxy's of ours, see `gateway.sip.ingress.CarrierIngress`.
        advertised_host: the public name or address for Via and Contact; None or empty for the address that
            faces the peer.
        reject_unknown: answer strangers 403 instead of silence.
        product: User-Agent and Server header.
        extensions: what is done beyond RFC 3261.
        look_for: looks whether the dialog of a request that is not in any of ours is one of a process that
            died, and rebuilds it then; the request is answered when it is done, or after `LOOK_SECONDS`.
            None has such requests answered 481 at once.
        network, resolver, tokens: the outside world; sockets, the system's resolver and the system's
            randomness by default.

    """

    def __init__(
        self,
        *,
        listen: Sequence[str] = (),
        agent_listen: Sequence[str] = ("0.0.0.0:0",),
        tls_listen: Sequence[str] = (),
        agent_tls_listen: Sequence[str] = (),
        own_listen: Sequence[str] = (),
        own_tls_listen: Sequence[str] = (),
        steer: Callable[[CarrierIngress], Receiver] = lambda ingress: ingress,
        steer_own: Callable[[CarrierIngress], Receiver] = lambda ingress: ingress,
        admit: Callable[[str], object | None] = lambda host: None,
        within_rate: Callable[[str], bool] = lambda host: True,
        may_refuse: Callable[[], bool] = lambda: True,
        refuse_call: Callable[[object], StatusAndHeaders | None] = lambda peer: None,
        admit_name: Callable[[str], object | None] | None = None,
        authenticator: Authenticator | None = None,
        on_invite: Callable[[InboundLeg], None],
        on_trying: Callable[[float], None] = lambda seconds: None,
        options_status: Callable[[], StatusAndHeaders] = lambda: (200, ()),
        observer: Observer,
        on_error: ErrorHandler,
        witness: Witness | None = None,
        on_turned_away: Callable[[str, str], None] = lambda host, reason: None,
        is_edge: Callable[[str], bool] | None = None,
        advertised_host: str | None = None,
        reject_unknown: bool = False,
        product: str = "voice-gateway",
        extensions: Extensions | None = None,
        look_for: Callable[[StrayRequest], Awaitable[None]] | None = None,
        network: Network | None = None,
        resolver: Resolver | None = None,
        tokens: TokenSource | None = None,
    ) -> None:
        network = network or SocketNetwork()
        self._tokens = tokens or random_tokens()
        self._listen = listen
        self._agent_listen = agent_listen
        self._tls_listen = tls_listen
        self._agent_tls_listen = agent_tls_listen
        self._own_listen = own_listen
        self._own_tls_listen = own_tls_listen
        self._on_invite = on_invite
        self._on_trying = on_trying
        self._advertised_host = advertised_host or ""
        self._resolver = resolver or Resolver()
        self._listeners = Listeners(network)
        self._bridge = Bridge(network, self._listeners, observer, on_error, witness)
        called = self._bridge.called
        ingress = CarrierIngress(
            self._bridge,
            admit,
            called,
            within_rate=within_rate,
            may_refuse=may_refuse,
            reject_unknown=reject_unknown,
            admit_name=admit_name,
            authenticator=authenticator,
            on_turned_away=on_turned_away,
            is_edge=is_edge,
        )
        self._own = Side(OWN_KEY, steer_own(ingress), self._advertised_to_carrier, OWN_TLS_KEY)
        self._carriers = Side(
            CARRIERS_KEY,
            steer(ingress),
            self._advertised_to_carrier,
            CARRIERS_TLS_KEY,
            self._own if own_listen or own_tls_listen else None,
        )
        self._agents = Side(
            AGENTS_KEY, AgentIngress(self._bridge, called), self._advertised_to_agent, AGENTS_TLS_KEY
        )
        self.user_agent = UserAgent(
            self._bridge,
            asyncio.get_running_loop().time,
            self._tokens,
            product=product,
            on_invite=self._invited,
            refuse_call=refuse_call,
            options_status=options_status,
            resolve=self._resolver.recall,
            extensions=extensions,
            on_stray=None if look_for is None else self._strayed,
        )
        self._look_for = look_for
        self._looking: set[asyncio.Task[None]] = set()
        self._bridge.core = self.user_agent
        self._bridge.agents = self._agents

    async def start(self) -> None:
        """Open every listener, the agents' first: who is heard by carriers must be able to reach agents.

        Raises:
            PortTakenError: somebody else listens there; the message names key and address.
            ListenError: an address is malformed or not ours, …

        """
        try:
            for side, texts, tls_texts in (
                (self._agents, self._agent_listen, self._agent_tls_listen),
                (self._own, self._own_listen, self._own_tls_listen),
                (self._carriers, self._listen, self._tls_listen),
            ):
                for text in texts:
                    await self._listeners.open(side, _parsed(side.key, text))
                for text in tls_texts:
                    await self._listeners.open_tls(side, _parsed(side.tls_key, text))
        except ListenError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close everything, the carriers' listeners first; calls should have ended before. Idempotent."""
        self._bridge.stop()
        for task in self._looking:
            task.cancel()
        self._listeners.close()
        await self._resolver.close()
        await asyncio.sleep(0)  # closing a socket takes the loop one more turn
        await asyncio.sleep(0)

    async def connect(self, uri: str) -> Flow:
        """The first of `ways`."""
        return (await self.ways(uri))[0]

    async def ways(self, uri: str) -> tuple[Flow, ...]:
        """Find the ways to an agent, best first, at least one; nothing is sent yet.

        Raises:
            ResolveError: (an OSError) the URI leads nowhere, or nowhere from our addresses.

        """
        return await self._ways(uri, self._agents)

    def way_stated(self, uri: str) -> Flow | None:
        """The way to an agent that its URI states by an address; None if `ways` has to look.

        Raises:
            ResolveError: see `ways`.

        """
        flow = self._resolver.stated(uri)
        return None if flow is None else self._ways_from(self._agents, uri, (flow,))[0]

    async def carrier_ways(self, uri: str) -> tuple[Flow, ...]:
        """The same to a carrier, from where carriers reach us. Raises ResolveError."""
        return await self._ways(uri, self._carriers)

    async def _ways(self, uri: str, side: Side) -> tuple[Flow, ...]:
        return self._ways_from(side, uri, await self._resolver.resolve(uri))

    def _ways_from(self, side: Side, uri: str, flows: Sequence[Flow]) -> tuple[Flow, ...]:
        found = []
        for flow in flows:
            listener = self._listeners.find(side, flow.transport, flow.host)
            if listener is not None:
                found.append(flow._replace(channel=listener.channel))
        if found:
            return tuple(found)
        family = "IPv6" if ":" in flow.host else "IPv4"
        key = side.tls_key if flow.transport == "tls" else side.key
        raise ResolveError(f"{uri}: no {family} address in {key}")

    def way_failed(self, flow: Flow) -> None:
        """Learn that a way led to nobody: others go first for a while (RFC 3263 §4.3)."""
        self._resolver.failed(flow)

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
        """Place a call along a flow that `connect` found; see `UserAgent.invite`."""
        return self.user_agent.invite(
            uri,
            flow,
            from_=from_,
            to=to,
            body=body,
            content_type=content_type,
            headers=headers,
            listener=listener,
        )

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
        """Send a request outside of any dialog; see `UserAgent.request`."""
        self.user_agent.request(method, uri, flow, headers=headers, digest=digest, on_result=on_result)

    def register(
        self,
        uri: str,
        flow: Flow,
        *,
        sender: Sender,
        headers: HeaderList,
        digest: DigestClient,
        on_result: Callable[[Response | None, FailureCause], None],
    ) -> None:
        """Send a REGISTER along a flow that `carrier_ways` found; see `UserAgent.request`."""
        self.user_agent.request(
            "REGISTER", uri, flow, headers=headers, sender=sender, digest=digest, on_result=on_result
        )

    def rebuild(self, state: LegState, *, peer: object, listener: Listener) -> RebuiltLeg:
        """Go on with a leg that another process had, from a socket of ours; see `UserAgent.rebuild`.

        Raises LegStateError.
        """
        side = self._carriers if state.inbound else self._agents
        found = self._listeners.find(side, state.transport, state.host)
        channel = 0 if found is None else found.channel
        flow = Flow(state.transport, state.host, state.port, channel, state.name)
        return self.user_agent.rebuild(state, flow, peer=peer, listener=listener)

    def account(self, username: str, password: str) -> DigestClient:
        """Who we are towards an agent that asks for it."""
        return DigestClient(username, password, self._tokens)

    def knows(self, data: bytes) -> bool:
        """Whether what a request is about is here; see `UserAgent.knows`."""
        return self.user_agent.knows(data)

    def send_through(self, flow: Flow, data: bytes) -> None:
        """Send what another process of ours says through a connection of this one, if it is still there."""
        listener = self._listeners.of(flow)
        if listener is not None and listener.transport.is_open(flow):
            listener.transport.send(flow, data)

    def waited(self) -> float:
        """Seconds that messages wait until we read them; see `gateway.sip.network.Transport`."""
        return max((listener.transport.waited() for listener in self._listeners), default=0.0)

    def lost(self) -> int:
        """Messages that the kernel had no room for, since this was last asked."""
        return sum(listener.transport.lost() for listener in self._listeners)

    def bound_address(self, flow: Flow) -> Address:
        """The address of ours that a flow's peer talks to."""
        return self._bridge.bound_address(flow)

    @property
    def carrier_addresses(self) -> list[Address]:
        """Where carriers' UDP listeners are bound; TCP has the same ports."""
        return self._bound(self._carriers)

    @property
    def tls_addresses(self) -> list[Address]:
        """Where carriers' TLS listeners are bound."""
        return self._bound(self._carriers, "tls")

    @property
    def agent_addresses(self) -> list[Address]:
        """Where agents' UDP listeners are bound; TCP has the same ports."""
        return self._bound(self._agents)

    def _bound(self, side: Side, transport: str = "udp") -> list[Address]:
        return [
            listener.address
            for listener in self._listeners
            if listener.side is side and listener.transport_name == transport
        ]

    def _invited(self, leg: InboundLeg) -> None:
        self._on_trying(time.perf_counter() - self._bridge.delivered_at)
        if not self._bridge.guarded("taking a call", self._on_invite, leg) and not leg.ended:
            leg.refuse(500)

    def _strayed(self, stray: StrayRequest) -> None:
        task = asyncio.get_running_loop().create_task(self._look(stray))
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _look(self, stray: StrayRequest) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                if self._look_for is not None:
                    await self._look_for(stray)
        except TimeoutError:
            pass  # nobody knows of it
        finally:
            self._bridge.guarded("a request for a dialog of another process", stray.settle)

    def _advertised_to_carrier(self, peer: str, local: str) -> str:
        return self._advertised_host if self._advertises_to(peer) else local

    def _advertised_to_agent(self, peer: str, local: str) -> str:
        """Agents beside us take the local address; out on the Internet they need the public one."""
        if self._advertises_to(peer) and is_public(peer) and not is_public(local):
            return self._advertised_host
        return local

    def _advertises_to(self, peer: str) -> bool:
        """Whether the advertised host, a name or an address, is one that this peer can send to."""
        host = self._advertised_host
        return bool(host) and (not is_ip_literal(host) or same_family(host, peer))


def _parsed(key: str, text: str) -> Address:
    try:
        return parse_address(text)
    except AddressError as error:
        raise ListenError(f"{key}: {error}") from None

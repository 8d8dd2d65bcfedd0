"""One INVITE to one endpoint of an agent: sent, awaited, and either answered or given up."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from urllib.parse import quote

from gateway.destinations.attending import attended
from gateway.destinations.audio_path import AudioPath, DirectPath, RelayedPath
from gateway.destinations.base import Call, CallerLeft, Declined, Outcome, Tried, ignore
from gateway.destinations.bridge import Bridge
from gateway.destinations.connected_agent import ConnectedAgent
from gateway.destinations.dtls_keys import DtlsKeys
from gateway.destinations.engine_path import EnginePath
from gateway.destinations.leg_security import LegSecurity
from gateway.destinations.renegotiation import renegotiate
from gateway.destinations.sdes_keys import SdesKeys
from gateway.destinations.terminating import answer_moved
from gateway.destinations.trunk import Lease, Trunk
from gateway.media.ports import NoPortLeft
from gateway.media.rtpengine import EngineUnavailable
from gateway.sip.events import AnswerReceived, FailureReceived, ProvisionalReceived, ReinviteReceived
from gateway.sip.flow import Flow
from gateway.sip.message import Response
from gateway.sip.outbound_leg import OutboundLeg
from gateway.sip.sdp import SdpError
from gateway.sip.secure_profiles import SECURE
from routing.models import Agent, Endpoint

USER_SAFE = "+-_.!~*'()&=$,"
"""What may stand in a SIP URI's user part unescaped, besides letters and digits (RFC 3261 §25.1)."""

AUDIO = b"\nm=audio "
"""What every answer must hold, also one that passes untouched: nobody talks to a peer without audio."""

OUTSIDE = "transfer"
"""The id of whoever a call was transferred to by a SIP URI, and who is no agent that we know."""

NOT_SECURELY = frozenset({415, 488, 606})
"""How an agent refuses an offer that it would have taken in the clear (RFC 3264 §6, RFC 4568 §7.2)."""

ANONYMOUS = "anonymous"
"""The user in From when the caller's number is withheld (RFC 3323 §4.1.1.3)."""


@dataclass(frozen=True, slots=True)
class Unreached:
    """Nobody is there by one way: another one may lead to somebody (RFC 3263 §4.3).

    everywhere: no time is left for any.
    """

    answer: str
    everywhere: bool = False


class Attempt:
    """One try of one endpoint, for one call.

    Args:
        lease: our place at the endpoint; it hears how the endpoint did. Whoever made the attempt releases it.

    """

    __slots__ = (
        "_agent",
        "_began",
        "_call",
        "_endpoint",
        "_handed_over",
        "_lease",
        "_refused",
        "_role",
        "_security",
        "_trunk",
    )

    def __init__(
        self, call: Call, agent: Agent, endpoint: Endpoint, lease: Lease, trunk: Trunk, role: str = "agent"
    ) -> None:
        self._role = role
        self._handed_over = False
        self._call = call
        self._agent = agent
        self._endpoint = endpoint
        self._lease = lease
        self._trunk = trunk
        self._began = call.now()
        self._security = _security(endpoint)
        self._refused = 0

    async def run(self, deadline: float) -> Outcome:
        """Offer the call, and if it is taken stay with it until its end.

        deadline: when the agent must have answered.
        """
        call = self._call
        path: AudioPath | None = None
        try:
            ways = await self._ways(deadline)
            path = await self._path(ways[0])
            outcome = await self._offer(ways, path, deadline)
            if self._refused in NOT_SECURELY and self._may_go_on_in_the_clear:
                path.close()
                self._security, self._refused = None, 0
                path = await self._path(ways[0])
                outcome = await self._offer(ways, path, deadline)
            return outcome
        except TimeoutError:
            return self._failed("no connection in time")
        except OSError as error:
            return self._failed(str(error))
        except NoPortLeft:
            return self._declined("no media port left", 503)
        except EngineUnavailable as error:
            return self._declined(f"no relay: {error}", 503)
        except SdpError as error:
            return self._declined(f"the offer cannot be passed on: {error}", 488)
        except CallerLeft:
            self._note("caller left")
            raise
        finally:
            if path is not None and not self._handed_over:
                path.close()
                call.leg_heard(self._agent.id, path.agent_stats)

    @property
    def _may_go_on_in_the_clear(self) -> bool:
        return self._security is not None and self._endpoint.srtp == "optional"

    async def _ways(self, deadline: float) -> tuple[Flow, ...]:
        sip, uri = self._trunk.sip, self._endpoint.request_uri
        stated = sip.way_stated(uri)
        if stated is not None:
            return (stated,)
        limit = min(deadline, self._began + self._trunk.response_timeout)
        return await attended(self._call, sip.ways(uri), limit)

    async def _path(self, way: Flow) -> AudioPath:
        call, trunk, audio = self._call, self._trunk, self._call.audio
        # Who was given early media of ours stays with our port: an answer repeats what it was shown.
        early = audio.through_port and not call.answered
        through_us = early or audio.tap is not None  # what is recorded
        if self._endpoint.direct_media and not through_us:
            return DirectPath(audio)
        if trunk.engines is not None and not (through_us or audio.through_port or self._secured):
            name = f"{call.id}-{secrets.token_hex(4)}"
            opening = asyncio.ensure_future(
                EnginePath.opened(audio, trunk.engines, name, ipv6=":" in way.host)
            )
            try:
                return await attended(call, opening, inf)
            except CallerLeft:
                if opening.done() and not opening.cancelled() and opening.exception() is None:
                    opening.result().close()  # in the same instant
                raise
            except EngineUnavailable as error:
                if not trunk.own_relay:
                    raise
                trunk.on_own_relay(str(error))
        return RelayedPath(
            self._call.audio,
            self._call.waiting_sound.stop,
            transcodes=self._trunk.transcoding,
            security=self._security,
            ipv6=":" in way.host,
        )

    @property
    def _secured(self) -> bool:
        """Whether one of the two legs has SRTP, or might have: their keys are ours."""
        return self._security is not None or self._call.audio.security is not None

    async def _offer(self, ways: Sequence[Flow], path: AudioPath, deadline: float) -> Outcome:
        """Try one way after the other until one leads to somebody (RFC 3263 §4.3).

        All of them together have the time that one has: a caller does not wait longer for an agent with many
        servers.
        """
        call = self._call
        call.audio.change_hands()
        offer = path.offer()
        limit = min(deadline, call.now() + self._trunk.response_timeout)
        unreached = Unreached("no way leads there")
        for position, flow in enumerate(ways):
            patience = (limit - call.now()) / (len(ways) - position)
            outcome = await self._offer_by(
                flow, path, offer, deadline, min(limit, call.now() + patience), first=not position
            )
            if not isinstance(outcome, Unreached):
                return outcome
            unreached = outcome
            self._trunk.sip.way_failed(flow)
            if position < len(ways) - 1:
                self._note(f"{flow.host}: {outcome.answer}")
        return self._failed(unreached.answer, everywhere=unreached.everywhere)

    async def _offer_by(
        self, flow: Flow, path: AudioPath, offer: bytes, deadline: float, limit: float, *, first: bool
    ) -> Outcome | Unreached:
        call = self._call
        leg = self._trunk.sip.invite(
            self._endpoint.request_uri,
            flow,
            from_=f"<sip:{quote(call.caller_number, USER_SAFE) or ANONYMOUS}@{self._trunk.domain}>",
            to=f"<{self._endpoint.request_uri}>",
            body=offer if self._security is None else self._security.leaves(offer, offer=True),
            headers=self._headers(),
            listener=call.deliver,
        )
        if first:
            call.attempt_begins()
        call.leg_placed(leg.call_id)
        leg.guard = self._security
        if self._endpoint.auth_token is not None:
            leg.digest = self._trunk.sip.account(self._endpoint.username, self._endpoint.auth_token)
        try:
            answer = await self._await_answer(leg, path, deadline, limit)
            if not isinstance(answer, bytes):
                return answer
            refusal = await self._connect_caller(leg, path, answer)
            if refusal is not None:
                return refusal
            bridge = Bridge(call, leg, path, self._trunk, offered=offer, answered=answer)
            self._handed_over = True
            connected = ConnectedAgent(
                call,
                self._role,
                self._agent.id,
                self._endpoint.url,
                leg,
                path,
                bridge,
                self._lease,
                self._lost,
            )
            return await connected.take(call)
        finally:
            if not self._handed_over:
                leg.listener, leg.guard = ignore, None
                leg.hangup(call.farewell)

    def _headers(self) -> list[tuple[str, str]]:
        call = self._call
        return [
            ("Max-Forwards", str(call.max_forwards - 1)),
            ("X-Agent-Id", self._agent.id),
            ("X-Call-Id", call.id),
            ("X-Dialled-Number", call.dialled),
            *((("traceparent", call.traceparent),) if call.traceparent else ()),
            *call.carrier_headers,
            *self._vouched(),
            *self._endpoint.headers.items(),
        ]

    def _vouched(self) -> list[tuple[str, str]]:
        """Who the caller is, for an agent of our trust domain, whatever others may know (RFC 3325 §5)."""
        call = self._call
        if not call.asserted or not self._trunk.trusts(self._endpoint.request_uri):
            return []
        user = quote(call.asserted, USER_SAFE)
        privacy = [("Privacy", "id")] if call.withheld else []
        return [("P-Asserted-Identity", f"<sip:{user}@{self._trunk.domain}>"), *privacy]

    async def _await_answer(
        self, leg: OutboundLeg, path: AudioPath, deadline: float, limit: float
    ) -> bytes | Declined | Unreached:
        """Wait for the endpoint's session description; early media is passed on meanwhile.

        Any response is a sign of life, 100 included: then the ring timeout decides.

        limit: when there must have been one.
        """
        call = self._call
        sent = call.now()
        responded = False
        while True:
            event = await call.next_event(limit)
            match event:
                case ProvisionalReceived() if event.leg is leg:
                    if not responded:
                        responded = True
                        limit = deadline
                        call.observe("agent_response", call.now() - sent)
                    self._pass_on(event.response, path)
                case AnswerReceived() if event.leg is leg:
                    if not responded:
                        call.observe("agent_response", call.now() - sent)
                    call.observe("agent_answer", call.now() - sent)
                    self._lease.succeeded()
                    return event.body
                case FailureReceived() if event.leg is leg:
                    if not responded and event.cause == "response":
                        call.observe("agent_response", call.now() - sent)
                    if event.cause != "response" or event.status == 503:
                        return Unreached(f"{event.status} {event.reason}")
                    return self._judge(event)
                case None if responded:
                    return self._failed("no answer in time", everywhere=True)
                case None:
                    return Unreached("no response in time", everywhere=limit >= deadline)
                case ReinviteReceived() if event.leg is call.caller:
                    self._caller_changes(event)
                case ReinviteReceived() if event.leg is leg:
                    self._agent_changes(event, path)

    def _pass_on(self, response: Response, path: AudioPath) -> None:
        """Give the caller an agent's early media; what cannot be understood is left out."""
        call = self._call
        if not response.body or not call.audio.theirs:
            return  # without the caller's offer there is nothing that an unreliable 183 could answer
        try:
            path.follow_agent(response.body)
            if self._settled(path):
                path.settle(response.body)
            elif not call.answered:
                call.ring(path.answer_to_caller(response.body))
        except SdpError:
            return

    def _caller_changes(self, change: ReinviteReceived) -> None:
        """A caller who has our early media moves its own, by UPDATE: nobody but us is concerned yet."""
        audio = self._call.audio
        agreed = audio.agreed() if audio.through_port else None
        if agreed is None:
            change.leg.refuse_reinvite(491)
            return
        try:
            change.leg.answer_reinvite(answer_moved(audio, agreed[0], change.request.body))
        except SdpError as error:
            change.leg.refuse_reinvite(error.status)

    def _agent_changes(self, change: ReinviteReceived, path: AudioPath) -> None:
        """An agent that rings moves its early media, by UPDATE; the caller hears of it if it is direct."""
        try:
            change.leg.answer_reinvite(path.moved_by_agent(change.request.body))
        except SdpError as error:
            change.leg.refuse_reinvite(error.status)

    def _judge(self, failure: FailureReceived) -> Declined:
        answer = f"{failure.status} {failure.reason}"
        self._refused = failure.status
        if failure.status == 408 or 500 <= failure.status < 600:
            return self._failed(answer)
        self._lease.succeeded()
        return self._declined(answer, everywhere=failure.status >= 600)

    async def _connect_caller(self, leg: OutboundLeg, path: AudioPath, answer: bytes) -> Outcome | None:
        """Give the caller the agent's answer; None when both are talking now."""
        call = self._call
        if not answer.startswith(b"v=0") or AUDIO not in answer:
            return self._failed("answered without a session description for audio")
        if self._security is not None and self._security.fault:
            return self._failed(f"answered unusably: {self._security.fault}")
        insecure = SECURE not in answer
        if not path.relayed and insecure and SECURE in call.audio.as_it_came:
            return self._failed("answered a secure offer in the clear")
        if path.relayed and not insecure:
            return self._failed("answered an offer in the clear with SRTP")
        settled = self._settled(path)
        try:
            path.follow_agent(answer)
            shown = self._shown(path, answer, settled=settled)
        except SdpError as error:
            return self._failed(f"answered with an unusable session description: {error}")
        self._note("200 OK")
        call.waiting_sound.stop()
        if not call.answered:
            call.answer(shown)
            return None
        if settled:
            return None
        theirs = await renegotiate(call, shown, leg)
        if not isinstance(theirs, bytes):
            return theirs
        path.follow_caller(theirs)
        path.answer_to_agent(theirs, answer)
        if not path.through_port:
            call.audio.close_port()
        return None

    def _shown(self, path: AudioPath, answer: bytes, *, settled: bool) -> bytes:
        """What the caller gets now that the agent has answered. Raises SdpError."""
        call = self._call
        if settled:
            path.settle(answer)
            return call.audio.shown
        if call.answered or not call.audio.theirs:
            return path.offer_to_caller(answer)
        return path.answer_to_caller(answer)

    def _settled(self, path: AudioPath) -> bool:
        """Whether the caller has a session description that holds for this agent, too: it names our port.

        With an answer the caller has, or early media, which an answer must repeat (RFC 3261 §13.2.1).
        """
        audio = self._call.audio
        return path.through_port and audio.through_port and bool(audio.shown) and not audio.held_by_us

    def _lost(self, reason: str) -> None:
        """The agent took the call and vanished."""
        self._lease.failed(reason)
        self._note(reason)

    def _failed(self, answer: str, *, everywhere: bool = False) -> Declined:
        """The endpoint is to blame: its circuit hears of it."""
        self._lease.failed(answer)
        return self._declined(answer, everywhere=everywhere)

    def _declined(self, answer: str, status: int = 480, *, everywhere: bool = False) -> Declined:
        self._note(answer)
        return Declined(f"{self._agent.id}: {answer}", status, everywhere)

    def _note(self, answer: str) -> None:
        seconds = self._call.now() - self._began
        url = self._endpoint.url if self._agent.id != OUTSIDE else f"sip:{self._host()}"
        self._call.tried.append(Tried(self._agent.id, url, answer, seconds))

    def _host(self) -> str:
        """Of an endpoint that is nobody's: its user may be a telephone number."""
        return self._endpoint.url.partition(";")[0].rpartition("@")[2]


def _security(endpoint: Endpoint) -> LegSecurity | None:
    """The encryption of an endpoint's leg; None in the clear, and where audio passes by us."""
    if endpoint.srtp == "off" or endpoint.direct_media:
        return None
    return LegSecurity(DtlsKeys if endpoint.srtp == "dtls" else SdesKeys)

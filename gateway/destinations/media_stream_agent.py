"""One agent's WebSocket, offered one call: the handshake is the question, and its success the answer.

The caller is answered only once the agent has shaken hands, so that nobody pays for an agent that is not
there; then the session is ours to keep, whatever becomes of the agent.
"""

from __future__ import annotations

import asyncio

import aiohttp

from gateway.destinations.attending import attended
from gateway.destinations.base import (
    Call,
    CallerLeft,
    Declined,
    Finished,
    Lost,
    Moved,
    Outcome,
    Tried,
)
from gateway.destinations.info_keys import key_in
from gateway.destinations.remote_control import HangUpAsked, MoveAsked, RemoteControl
from gateway.destinations.silence import SilenceWatch, TerminatedAudio
from gateway.destinations.stream_conversation import AgentSaidGoodbye, AgentWasLost, StreamConversation
from gateway.destinations.stream_trunk import StreamTrunk
from gateway.destinations.terminating import Terms, answer_here, negotiate
from gateway.destinations.trunk import Lease, Trunk
from gateway.media.codecs import LINEAR, AudioCodec, find
from gateway.media.session import AudioSession
from gateway.sip.events import InfoReceived, ReinviteReceived
from gateway.streams.protocol import AudioForm, OptionError, StreamedCall, StreamProtocol
from gateway.streams.protocols import DEFAULT, PROTOCOLS
from routing.endpoint_rules import shown_url
from routing.models import Agent, Endpoint


class MediaStreamAttempt:
    """One try of one WebSocket endpoint, for one call.

    Args:
        lease: our place at the endpoint; it hears how the endpoint did. Whoever made the attempt releases it.

    """

    __slots__ = ("_agent", "_began", "_call", "_endpoint", "_lease", "_streams", "_trunk")

    def __init__(
        self, call: Call, agent: Agent, endpoint: Endpoint, lease: Lease, trunk: Trunk, streams: StreamTrunk
    ) -> None:
        self._call = call
        self._agent = agent
        self._endpoint = endpoint
        self._lease = lease
        self._trunk = trunk
        self._streams = streams
        self._began = call.now()

    async def run(self, deadline: float) -> Outcome:
        """Offer the call, and if it is taken stay with it until its end.

        deadline: when the agent must have answered.
        """
        call = self._call
        told = StreamedCall(
            call.id, call.caller_number, call.dialled, self._agent.id, call.carrier, call.carrier_headers
        )
        try:
            protocol = PROTOCOLS[self._endpoint.protocol or DEFAULT](told, self._endpoint.options)
        except (KeyError, OptionError) as error:
            return self._failed(f"endpoint cannot be spoken to: {error}")
        call.attempt_begins()
        call.happened("websocket", f"handshake with {shown_url(self._endpoint.url)} begins")
        connecting = asyncio.ensure_future(self._streams.connect(self._endpoint, call.traceparent))
        try:
            patience = min(deadline, self._began + self._trunk.response_timeout)
            socket = await attended(call, connecting, patience)
        except TimeoutError:
            return self._failed("no handshake in time")
        except aiohttp.WSServerHandshakeError as error:
            return self._failed(f"handshake refused with {error.status}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return self._failed(f"no connection: {_told(error)}")
        except CallerLeft:
            self._note("caller left")
            if connecting.done() and not connecting.cancelled() and connecting.exception() is None:
                self._streams.finish(connecting.result().close())  # in the same instant
            raise
        conversation: StreamConversation | None = None
        try:
            call.observe("agent_response", call.now() - self._began)
            call.happened("websocket", "handshake done")
            terms = await self._answer()
            if isinstance(terms, Declined):
                return terms
            session = self._session(terms, protocol)
            try:
                conversation = StreamConversation(call, socket, protocol, session)
                return await self._converse(conversation, session, told, terms)
            finally:
                session.detach()
                self._streams.on_session_over(session)
        finally:
            self._streams.finish(conversation.end() if conversation else socket.close())

    async def _answer(self) -> Terms | Declined:
        """The agent is there: answer the caller, unless that has happened already."""
        call = self._call
        terms = await answer_here(call)
        if isinstance(terms, Declined):
            self._note(terms.reason)
            return terms
        self._lease.succeeded()
        self._note("connected")
        call.observe("agent_answer", call.now() - self._began)
        return terms

    def _session(self, terms: Terms, protocol: StreamProtocol) -> AudioSession:
        return AudioSession(
            self._call.audio.open_port(),
            terms.codec,
            terms.payload_type,
            terms.dtmf_payload_type,
            live=True,
            continuous=True,
            rate=protocol.form.rate,
            form=_codec(protocol.form),
            prefill=self._streams.prefill,
            clock=self._call.now,
        )

    async def _converse(
        self, conversation: StreamConversation, session: AudioSession, told: StreamedCall, terms: Terms
    ) -> Outcome:
        call = self._call
        control = RemoteControl(
            told.account_sid,
            told.call_sid,
            told.caller,
            told.dialled,
            self._endpoint.auth_token,
            call.deliver,
        )
        call.agent_joined()
        self._streams.controls.add(control)
        try:
            conversation.begin()
            ending = await self._follow(conversation, session, terms)
            if isinstance(ending, Finished):
                call.happened("websocket", ending.cause)
        except CallerLeft as left:
            ending = Finished(left.cause, left.status)
        finally:
            self._streams.controls.remove(control)
            call.agent_left()
        if isinstance(ending, Lost):
            self._lease.failed(ending.reason)
            self._note(ending.reason)
        return ending

    async def _follow(
        self, conversation: StreamConversation, session: AudioSession, terms: Terms
    ) -> Finished | Lost | Moved:
        call, first_audio = self._call, self._streams.first_audio_timeout
        now = call.now()
        ends_at, speaks_by = now + self._trunk.max_duration, now + first_audio
        silence = SilenceWatch(
            TerminatedAudio(session.port, now),
            agent_limit=0,
            caller_limit=self._trunk.caller_silence_timeout,
            now=now,
        )
        while True:
            deadline = min(ends_at, silence.next_check(call.now()))
            if first_audio and not conversation.heard_agent:
                deadline = min(deadline, speaks_by)
            event = await call.next_event(deadline)
            match event:
                case AgentSaidGoodbye() | HangUpAsked():
                    return Finished("agent hung up")
                case AgentWasLost():
                    return Lost(event.reason)
                case MoveAsked():
                    return Moved(event.target)
                case InfoReceived() if event.leg is call.caller:
                    if (key := key_in(event.request)) is not None:
                        session.take_info_key(key)
                case None if call.now() >= ends_at:
                    return Finished(f"longer than {self._trunk.max_duration:g} s", 408)
                case None if first_audio and not conversation.heard_agent and call.now() >= speaks_by:
                    return Lost(f"agent said nothing within {first_audio:g} s")
                case None if silence.silent(call.now()) is not None:
                    limit = self._trunk.caller_silence_timeout
                    return Finished(f"caller silent for {limit:g} s", 408)
                case _:
                    negotiate(call, terms, event)
                    if isinstance(event, ReinviteReceived):
                        self._follow_hold(silence)

    def _follow_hold(self, silence: SilenceWatch) -> None:
        """A caller who holds sends nothing, and is not gone."""
        if self._call.audio.open_port().sending:
            silence.resume(self._call.now())
        else:
            silence.hold()

    def _failed(self, answer: str) -> Declined:
        """The endpoint is to blame: its circuit hears of it."""
        self._lease.failed(answer)
        self._note(answer)
        return Declined(f"{self._agent.id}: {answer}")

    def _note(self, answer: str) -> None:
        seconds = self._call.now() - self._began
        self._call.happened("websocket", answer)
        self._call.tried.append(Tried(self._agent.id, self._endpoint.url, answer, seconds))


def _codec(form: AudioForm) -> AudioCodec:
    if form.encoding == "PCM16":
        return LINEAR[form.rate]
    codec = find(form.encoding, form.rate)
    if codec is None:
        raise AssertionError(form)
    return codec


def _told(error: Exception) -> str:
    """The error for a record: what aiohttp says holds the address, which is in the record already."""
    cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    return str(getattr(cause, "strerror", None) or cause) or type(error).__name__

"""The built-in demo agent: a SIP server of its own that greets the caller, then echoes what it hears."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from gateway.media.g711 import CODECS
from gateway.media.port_pool import PortPool
from gateway.media.ports import NoPortLeft
from gateway.media.session import AudioSession
from gateway.media.voice_activity import VoiceActivity
from gateway.sip.addresses import parse_address
from gateway.sip.endpoint import SipEndpoint
from gateway.sip.events import AckReceived, Event, HungUp, InviteCancelled, LegEnded, ReinviteReceived
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.sdp import SdpError, answer_offer
from gateway.speech.cache import SpeechCache
from gateway.speech.engine import make_engine
from gateway.speech.message import RenderedMessage
from gateway.telemetry.unobserved import Unobserved

GREETING: Final = "Hello! This is the demo agent. Say something, and I will say it back."

INTERRUPTION_SECONDS: Final = 0.2
"""Of speech by the caller, after which the greeting stops: nobody has to wait until it is over."""

KEPT_FRAMES: Final = 100
"""Frames of 20 ms kept while the greeting plays, so that what the caller says into it is echoed as well."""

MAX_CALLS: Final = 50
"""Calls at once: it is for trying things out."""

PORTS: Final = (15_000, 15_998)
"""Its own media ports, apart from the gateway's."""

GREETING_SECONDS: Final = 10.0
"""For the greeting to be rendered; then the default message is spoken instead."""

log = structlog.get_logger("demo")


class DemoAgent:
    """Answers every call.

    Args:
        listen: ``host:port`` with a loopback address.
        speech_directory: where the greeting is kept once it is rendered.

    """

    def __init__(self, listen: str, speech_directory: Path) -> None:
        host, _ = parse_address(listen)
        self._calls: set[_EchoCall] = set()
        self._ports = PortPool(host, *PORTS)
        self._speech = SpeechCache(
            make_engine("espeak"),
            speech_directory,
            encoders={name: codec.frames for name, codec in CODECS.items()},
            on_error=lambda name, error: log.error("speech failed", engine=name, error=str(error)),
        )
        self._sip = SipEndpoint(
            listen=(listen,),
            agent_listen=(),
            admit=lambda host: host,
            on_invite=self._on_invite,
            observer=Unobserved(),
            on_error=lambda where, error: log.error("internal error", where=where, exc_info=error),
            product="voice-gateway-demo",
        )

    async def start(self) -> None:
        """Begin to answer.

        Raises:
            ListenError: the address is taken or not ours.

        """
        await self._speech.start()
        try:
            self._greeting = await self._speech.get(GREETING, GREETING_SECONDS)
            await self._sip.start()
        except BaseException:
            await self._speech.close()
            raise

    async def stop(self) -> None:
        """Hang up on everybody and close."""
        for call in list(self._calls):
            call.end()
        await asyncio.sleep(0)
        await self._sip.stop()
        self._ports.close()
        await self._speech.close()

    def _on_invite(self, leg: InboundLeg) -> None:
        if len(self._calls) >= MAX_CALLS:
            leg.refuse(486)
            return
        try:
            call = _EchoCall(leg, self._ports, self._greeting, self._calls.discard)
        except (SdpError, NoPortLeft) as error:
            leg.refuse(488 if isinstance(error, SdpError) else 503)
            return
        self._calls.add(call)


class _EchoCall:
    """One caller."""

    def __init__(
        self, leg: InboundLeg, ports: PortPool, greeting: RenderedMessage, on_end: Callable[[_EchoCall], None]
    ) -> None:
        self._leg = leg
        self._greeting = greeting
        self._on_end = on_end
        self._port = ports.open()
        try:
            self._answer = answer_offer(leg.request.body, *self._port.address, session_id=1)
        except SdpError:
            self._port.close()
            raise
        self._port.set_remote(*self._answer.remote)
        codec, dtmf = self._answer.codec, self._answer.dtmf_payload_type
        self._audio = AudioSession(self._port, codec.name.upper(), codec.payload_type, dtmf)
        leg.listener = self._heard
        leg.ring()
        leg.answer(self._answer.sdp)

    def end(self) -> None:
        """Hang up."""
        self._leg.hangup()
        self._close()

    def _heard(self, event: Event) -> None:
        match event:
            case AckReceived():
                self._greet()
            case ReinviteReceived():
                self._change(event)
            case HungUp() | InviteCancelled() | LegEnded():
                self._close()
            case _:
                pass  # keys and the like are of no interest here

    def _greet(self) -> None:
        activity, kept = VoiceActivity(time.monotonic()), deque[bytes](maxlen=KEPT_FRAMES)

        def listen(frame: bytes) -> None:
            activity.hear(frame, time.monotonic())
            kept.append(frame)
            if activity.voiced_seconds >= INTERRUPTION_SECONDS:
                self._audio.stop_playing()

        def echo(_: object) -> None:
            self._audio.on_audio = self._echo
            if activity.voiced_seconds:
                self._echo(b"".join(kept))

        self._audio.on_audio = listen
        greeted = self._audio.play_frames(self._greeting.encoded(self._answer.codec.name.upper()))
        greeted.add_done_callback(echo)

    def _echo(self, heard: bytes) -> None:
        self._audio.play(heard)

    def _change(self, event: ReinviteReceived) -> None:
        offer = event.request.body
        try:
            answer = (
                answer_offer(offer, *self._port.address, session_id=1, version=2) if offer else self._answer
            )
        except SdpError as error:
            self._leg.refuse_reinvite(error.status)
            return
        self._port.set_remote(*answer.remote)
        self._leg.answer_reinvite(answer.sdp)

    def _close(self) -> None:
        self._audio.close()
        self._on_end(self)

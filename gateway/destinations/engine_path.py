"""Audio through rtpengine: its two ports in the place of ours, known before anybody is told of them.

Descriptions are translated as for our own relay; rtpengine is told in the background what the parties agreed
on. The caller's port is not the one that it has with voicemail or an agent over WebSocket: a call that moves
on to them is renegotiated by re-INVITE, as one with direct media is.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.destinations.audio_path import refuse_keys
from gateway.destinations.caller_audio import CallerAudio, rtp_address
from gateway.destinations.repeated import repeated
from gateway.media.reception import PortStats
from gateway.media.rtpengine import EngineCall, RtpEngines
from gateway.sip.sdp import SdpError, make_offer, with_media_address

LOOK_SECONDS: Final = 5.0
"""Between questions how many packets have come: what silence of a party is noticed by."""

DISCARD: Final = 9
"""Stands for an agent's port until it is known (RFC 863)."""


class EnginePath:
    """Fulfils `gateway.destinations.audio_path.AudioPath`; made by `opened`.

    Attributes:
        engine_call: where the audio goes; with it another process can take the call over.

    """

    __slots__ = (
        "_agents",
        "_asked",
        "_audio",
        "_closed",
        "_heard_at",
        "_looking",
        "_loop",
        "_to_agent",
        "_to_caller",
        "agent_stats",
        "engine_call",
    )

    relayed = True
    through_port = False

    def __init__(self, audio: CallerAudio, engine_call: EngineCall) -> None:
        self.engine_call = engine_call
        self.agent_stats: PortStats | None = engine_call.agent
        self._audio = audio
        self._to_agent = rtp_address(engine_call.to_agent)[:2]
        self._to_caller = rtp_address(engine_call.to_caller)[:2]
        self._asked = self._agents = b""
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._heard_at = [self._loop.time()] * 2
        self._looking = asyncio.ensure_future(self._look())
        audio.elsewhere = engine_call.caller

    @classmethod
    async def opened(cls, audio: CallerAudio, engines: RtpEngines, call_id: str, *, ipv6: bool) -> EnginePath:
        """Find an instance that takes the call.

        call_id: never used before.

        Raises:
            EngineUnavailable: there is none.
            SdpError: the caller's description has no audio, or makes no sense.

        """
        nowhere = "::" if ipv6 else "0.0.0.0"  # noqa: S104 - an address in SDP: nobody yet
        offer = audio.offer() or make_offer("0.0.0.0", DISCARD, session_id=audio.session_id)  # noqa: S104
        placeholder = with_media_address(offer, nowhere, DISCARD)
        found = await engines.open(call_id, offer, placeholder, ipv6=ipv6)
        try:
            return cls(audio, found)
        except SdpError:
            found.close()
            raise

    @classmethod
    def taken_up(cls, audio: CallerAudio, engine_call: EngineCall, answered: bytes) -> EnginePath:
        """Go on with a path that another process had opened; nothing is told to the instance.

        answered: the agent's latest description.

        Raises:
            SdpError: what is known of it makes no sense.

        """
        path = cls(audio, engine_call)
        path._asked, path._agents = audio.theirs, answered
        return path

    def offer(self) -> bytes:
        """See `AudioPath`."""
        if self._audio.theirs:
            self._asked = self._audio.offer()
            return self.offer_to_agent(self._asked)
        return make_offer(*self._to_agent, session_id=self._audio.session_id)

    def offer_to_agent(self, offer: bytes) -> bytes:
        """See `AudioPath`."""
        refuse_keys(offer)
        return with_media_address(offer, *self._to_agent)

    def offer_to_caller(self, offer: bytes) -> bytes:
        """See `AudioPath`."""
        refuse_keys(offer)
        return self._audio.present(with_media_address(offer, *self._to_caller), through_port=False)

    def answer_to_agent(self, answer: bytes, offer: bytes) -> bytes:
        """See `AudioPath`."""
        return with_media_address(answer, *self._to_agent)

    def answer_to_caller(self, answer: bytes, offer: bytes | None = None) -> bytes:
        """See `AudioPath`."""
        return self._audio.present(with_media_address(answer, *self._to_caller), through_port=False)

    def moved_by_agent(self, offer: bytes) -> bytes:
        """See `AudioPath`: the same codecs as before, and the relay follows."""
        ours = repeated(self.offer_to_agent(self._asked), offer)
        self.follow_agent(offer)
        return ours

    def suspend(self) -> None:
        """See `AudioPath`."""
        self.engine_call.block(blocked=True)

    def resume(self) -> None:
        """See `AudioPath`."""
        self.engine_call.block(blocked=False)
        self._audio.elsewhere = self.engine_call.caller

    def settle(self, answer: bytes) -> None:
        """See `AudioPath`; a caller who was shown our own port is told of this one instead."""

    def follow_caller(self, description: bytes) -> None:
        """See `AudioPath`."""
        rtp_address(description)
        self._audio.theirs = description
        self._follow()

    def follow_agent(self, description: bytes) -> None:
        """See `AudioPath`."""
        rtp_address(description)
        self._agents = description
        self._follow()

    def silence(self, now: float) -> tuple[float, float]:
        """See `AudioPath`; to the nearest look at the counters."""
        since = self._loop.time()
        return since - self._heard_at[0], since - self._heard_at[1]

    async def last_look(self) -> None:
        """See `AudioPath`."""
        if self.engine_call.engine.up:
            await self.engine_call.look()

    def close(self) -> None:
        """See `AudioPath`."""
        if not self._closed:
            self._closed = True
            self._looking.cancel()
            self.engine_call.close()

    def _follow(self) -> None:
        if self._audio.theirs and self._agents:
            self.engine_call.follow(self._audio.theirs, self._agents)

    async def _look(self) -> None:
        """Note when packets have come. For an instance that tells nothing both parties are silent."""
        counted = [0, 0]
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if await self.engine_call.look():
                packets = self.engine_call.caller.packets_in, self.engine_call.agent.packets_in
                for party in (0, 1):
                    if packets[party] != counted[party]:
                        counted[party], self._heard_at[party] = packets[party], self._loop.time()

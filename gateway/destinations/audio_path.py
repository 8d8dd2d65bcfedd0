"""How audio gets from the caller to an agent: through a relay of ours, or directly.

A path translates session descriptions between the two legs and follows the addresses in them. It belongs to
one attempt at one agent; the caller's port, if there is one, stays with the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.destinations.caller_audio import CallerAudio, rtp_address, voice_of
from gateway.media.reception import PortStats
from gateway.media.relay import Relay
from gateway.sip.sdp import make_offer, with_media_address


class AudioPath(Protocol):
    """What dispatching to a SIP agent asks of the audio.

    Attributes:
        relayed: packets pass through us, so we see silence.
        agent_stats: what our port towards the agent has seen; None with direct media.

    """

    relayed: bool
    agent_stats: PortStats | None

    def offer(self) -> bytes:
        """The body of the INVITE; empty if the offer is left to the agent.

        Raises:
            SdpError: the caller's offer cannot be passed on.

        """

    def to_agent(self, description: bytes) -> bytes:
        """The caller's description as the agent gets it. Raises SdpError."""

    def to_caller(self, description: bytes) -> bytes:
        """The agent's description as the caller gets it. Raises SdpError."""

    def follow_caller(self, description: bytes) -> None:
        """Send what is for the caller where this description, now in force, says. Raises SdpError."""

    def follow_agent(self, description: bytes) -> None:
        """Likewise for the agent. Raises SdpError."""

    def silence(self, now: float) -> tuple[float, float]:
        """Seconds without a packet from the caller and from the agent; zeros if nobody can know."""

    def close(self) -> None:
        """Let go of the agent's side. Idempotent."""


class DirectPath:
    """RTP goes from caller to agent without us; their descriptions pass untouched."""

    __slots__ = ("_audio",)

    relayed = False
    agent_stats: PortStats | None = None

    def __init__(self, audio: CallerAudio) -> None:
        self._audio = audio

    def offer(self) -> bytes:
        """See `AudioPath`."""
        return self._audio.offer()

    def to_agent(self, description: bytes) -> bytes:
        """See `AudioPath`."""
        return description

    def to_caller(self, description: bytes) -> bytes:
        """See `AudioPath`."""
        return self._audio.present(description, through_port=False)

    def follow_caller(self, description: bytes) -> None:
        """See `AudioPath`."""
        self._audio.theirs = description

    def follow_agent(self, description: bytes) -> None:
        """See `AudioPath`."""

    def silence(self, now: float) -> tuple[float, float]:
        """See `AudioPath`."""
        return 0.0, 0.0

    def close(self) -> None:
        """See `AudioPath`."""


class RelayedPath:
    """RTP goes through two ports of ours; addresses in descriptions become those of our ports.

    Args:
        on_agent: called with the agent's first packet, before that goes to the caller.

    Raises:
        NoPortLeft: there is no port for one of the two legs.
        SdpError: the caller's session description has no audio, or makes no sense.

    """

    __slots__ = ("_agent_port", "_audio", "_caller_port", "_closed", "_relay", "agent_stats")

    relayed = True

    def __init__(self, audio: CallerAudio, on_agent: Callable[[], None]) -> None:
        self._audio = audio
        self._caller_port = audio.open_port()
        self._agent_port = audio.open_agent_port()
        self._relay = Relay(self._caller_port, self._agent_port, secure=audio.secure)
        self.agent_stats: PortStats | None = self._agent_port.stats
        self._closed = False
        to_caller = self._agent_port.sink

        def first_packet(packet: bytes) -> None:
            on_agent()
            self._agent_port.sink = to_caller
            to_caller(packet)

        self._agent_port.sink = first_packet

    def offer(self) -> bytes:
        """See `AudioPath`; when the caller made no offer, ours: both G.711 laws and telephone-event."""
        if not self._audio.theirs:
            return make_offer(*self._agent_port.address, session_id=self._audio.session_id)
        return self.to_agent(self._audio.offer())

    def to_agent(self, description: bytes) -> bytes:
        """See `AudioPath`."""
        return with_media_address(description, *self._agent_port.address)

    def to_caller(self, description: bytes) -> bytes:
        """See `AudioPath`."""
        ours = with_media_address(description, *self._caller_port.address)
        return self._audio.present(ours, through_port=True)

    def follow_caller(self, description: bytes) -> None:
        """See `AudioPath`."""
        self._audio.theirs = description
        self._caller_port.set_remote(*rtp_address(description))

    def follow_agent(self, description: bytes) -> None:
        """See `AudioPath`."""
        self._agent_port.set_remote(*rtp_address(description))
        voice = voice_of(description)
        if voice is not None:
            for port in (self._caller_port, self._agent_port):
                port.stats.speaks(voice.name.upper(), voice.clock_rate)

    def silence(self, now: float) -> tuple[float, float]:
        """See `AudioPath`."""
        return self._relay.silence(now)

    def close(self) -> None:
        """See `AudioPath`."""
        if not self._closed:
            self._closed = True
            self._relay.detach()

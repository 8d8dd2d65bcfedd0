"""How audio gets from the caller to an agent: through a relay of ours, or directly.

A path translates session descriptions between the two legs and follows the addresses in them. It belongs to
one attempt at one agent; the caller's port, if there is one, stays with the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.destinations.caller_audio import CallerAudio, rtp_address
from gateway.destinations.codec_bridge import Carried, SpokenOnLeg, carry, spoken_on_leg, voice_in, widened
from gateway.destinations.leg_security import LegSecurity
from gateway.destinations.repeated import repeated
from gateway.media.ports import PacketSink
from gateway.media.reception import PortStats
from gateway.media.relay import Relay
from gateway.media.rtp_port import discard
from gateway.media.rtpengine import EngineCall
from gateway.media.stream_transcoder import StreamTranscoder
from gateway.sip.sdp import Codec, SdpError, make_offer, with_media_address
from gateway.sip.secure_profiles import SECURE


class AudioPath(Protocol):
    """What dispatching to a SIP agent asks of the audio.

    Attributes:
        relayed: packets pass through a relay that we ask, so we see silence.
        through_port: the caller's audio comes through the call's own port, which outlives this path.
        agent_stats: what our port towards the agent has seen; None with direct media.

    """

    relayed: bool
    through_port: bool
    agent_stats: PortStats | None

    @property
    def engine_call(self) -> EngineCall | None:
        """Where packets pass through a relay that outlives this process; None if none does that."""

    def offer(self) -> bytes:
        """The body of the INVITE; empty if the offer is left to the agent.

        Raises:
            SdpError: the caller's offer cannot be passed on.

        """

    def offer_to_agent(self, offer: bytes) -> bytes:
        """An offer of the caller's as the agent gets it. Raises SdpError."""

    def offer_to_caller(self, offer: bytes) -> bytes:
        """An offer of the agent's as the caller gets it. Raises SdpError."""

    def answer_to_agent(self, answer: bytes, offer: bytes) -> bytes:
        """The caller's answer to an offer of the agent's, as the agent gets it. Raises SdpError."""

    def answer_to_caller(self, answer: bytes, offer: bytes | None = None) -> bytes:
        """The agent's answer as the caller gets it. Raises SdpError.

        offer: what it answers; by default the offer of the INVITE.
        """

    def moved_by_agent(self, offer: bytes) -> bytes:
        """The answer to an agent that rings and changes its early media, as it may be told at once.

        Raises SdpError: the caller would have to be asked.
        """

    def suspend(self) -> None:
        """Keep the agent's side, and let nothing through: the caller is with somebody else."""

    def resume(self) -> None:
        """Join both sides again as they were."""

    def settle(self, answer: bytes) -> None:
        """The agent answered, and the caller goes on as before, without hearing of it. Raises SdpError."""

    def follow_caller(self, description: bytes) -> None:
        """Send what is for the caller where this description, now in force, says. Raises SdpError."""

    def follow_agent(self, description: bytes) -> None:
        """Likewise for the agent. Raises SdpError."""

    def silence(self, now: float) -> tuple[float, float]:
        """Seconds without a packet from the caller and from the agent; zeros if nobody can know."""

    async def last_look(self) -> None:
        """Bring `agent_stats` up to date, at the end of a call. Bounded."""

    def close(self) -> None:
        """Let go of the agent's side. Idempotent."""


class DirectPath:
    """RTP goes from caller to agent without us; their descriptions pass untouched."""

    __slots__ = ("_audio",)

    relayed = False
    through_port = False
    agent_stats: PortStats | None = None
    engine_call: EngineCall | None = None

    def __init__(self, audio: CallerAudio) -> None:
        self._audio = audio
        audio.pass_by()

    def offer(self) -> bytes:
        """See `AudioPath`."""
        return self._audio.direct_offer()

    def offer_to_agent(self, offer: bytes) -> bytes:
        """See `AudioPath`."""
        return offer

    def offer_to_caller(self, offer: bytes) -> bytes:
        """See `AudioPath`."""
        return self._audio.present(offer, through_port=False)

    def answer_to_agent(self, answer: bytes, offer: bytes) -> bytes:
        """See `AudioPath`."""
        return answer

    def answer_to_caller(self, answer: bytes, offer: bytes | None = None) -> bytes:
        """See `AudioPath`."""
        return self._audio.present(answer, through_port=False)

    def moved_by_agent(self, offer: bytes) -> bytes:
        """See `AudioPath`; what the caller was told names the agent's own address."""
        raise SdpError("direct media cannot change before the answer")

    def suspend(self) -> None:
        """See `AudioPath`; direct media goes on until the caller is told of another."""

    def resume(self) -> None:
        """See `AudioPath`."""

    def settle(self, answer: bytes) -> None:
        """See `AudioPath`."""

    def follow_caller(self, description: bytes) -> None:
        """See `AudioPath`."""
        self._audio.theirs = description

    def follow_agent(self, description: bytes) -> None:
        """See `AudioPath`."""

    def silence(self, now: float) -> tuple[float, float]:
        """See `AudioPath`."""
        return 0.0, 0.0

    async def last_look(self) -> None:
        """See `AudioPath`; nobody has to be asked."""

    def close(self) -> None:
        """See `AudioPath`."""


class RelayedPath:
    """RTP goes through two ports of ours; addresses in descriptions become those of our ports.

    Where caller and agent have no codec in common the relay transcodes (`gateway.destinations.codec_bridge`).

    Args:
        on_agent: called with the agent's first packet, before that goes to the caller.
        transcodes: whether codecs are added to offers.
        security: the agent's SRTP; None to talk to it in the clear.
        ipv6: whether the agent is reached over IPv6.

    Raises:
        NoPortLeft: there is no port for one of the two legs.
        SdpError: the caller's session description has no audio, or makes no sense.

    """

    __slots__ = (
        "_agent_knows",
        "_agent_port",
        "_asked",
        "_audio",
        "_caller_port",
        "_closed",
        "_legs",
        "_on_agent",
        "_relay",
        "_to_caller",
        "_transcodes",
        "agent_stats",
    )

    relayed = True
    through_port = True
    engine_call: EngineCall | None = None

    def __init__(
        self,
        audio: CallerAudio,
        on_agent: Callable[[], None],
        *,
        transcodes: bool = True,
        security: LegSecurity | None = None,
        ipv6: bool = False,
    ) -> None:
        self._audio = audio
        self._caller_port = audio.open_port()
        self._agent_port = audio.open_agent_port(ipv6=ipv6)
        if security is not None:
            security.attach(self._agent_port)
        self._relay = Relay(self._caller_port, self._agent_port)
        self.agent_stats: PortStats | None = self._agent_port.stats
        self._transcodes = transcodes
        self._on_agent = on_agent
        self._closed = False
        self._asked = self._agent_knows = b""
        self._legs: tuple[SpokenOnLeg, SpokenOnLeg] | None = None
        self._to_caller: PacketSink = self._caller_port.send
        self._agent_port.sink = self._first_packet

    def offer(self) -> bytes:
        """See `AudioPath`; when the caller made no offer, ours: both G.711 laws and telephone-event."""
        if self._audio.theirs:
            self._asked = self._audio.offer()
            return self.offer_to_agent(self._asked)
        return self.offer_to_agent(make_offer(*self._agent_port.address, session_id=self._audio.session_id))

    def offer_to_agent(self, offer: bytes) -> bytes:
        """See `AudioPath`."""
        refuse_keys(offer)
        offer = widened(offer) if self._transcodes else offer
        self._agent_knows = with_media_address(offer, *self._agent_port.address)
        return self._agent_knows

    def offer_to_caller(self, offer: bytes) -> bytes:
        """See `AudioPath`."""
        refuse_keys(offer)
        agreed = self._audio.agreed()
        offer = widened(offer, agreed[0] if agreed else None) if self._transcodes else offer
        ours = with_media_address(offer, *self._caller_port.address)
        return self._audio.present(ours, through_port=True)

    def answer_to_agent(self, answer: bytes, offer: bytes) -> bytes:
        """See `AudioPath`."""
        carried = self._carry(offer, answer)
        self._agent_knows = ours = with_media_address(carried.description, *self._agent_port.address)
        if carried.transcoded:
            self._transcode(
                caller=spoken_on_leg(self._audio.shown, answer, answer),
                agent=spoken_on_leg(ours, offer, ours),
            )
        else:
            self._pass(carried.voice)
        return ours

    def answer_to_caller(self, answer: bytes, offer: bytes | None = None) -> bytes:
        """See `AudioPath`."""
        offer = self._asked if offer is None else offer
        carried = self._carry(offer, answer)
        ours = with_media_address(carried.description, *self._caller_port.address)
        if carried.transcoded:
            self._transcode(
                caller=spoken_on_leg(ours, offer, ours),
                agent=spoken_on_leg(self._agent_knows, answer, answer),
            )
        else:
            self._pass(carried.voice)
        return self._audio.present(ours, through_port=True)

    def moved_by_agent(self, offer: bytes) -> bytes:
        """See `AudioPath`: the same codecs as before, and the relay follows."""
        ours = repeated(self._agent_knows, offer)
        self.follow_agent(offer)
        return ours

    def suspend(self) -> None:
        """See `AudioPath`."""
        self._caller_port.sink = self._agent_port.sink = discard

    def resume(self) -> None:
        """See `AudioPath`."""
        self._relay = Relay(self._caller_port, self._agent_port)
        legs, self._legs = self._legs, None
        self._to_caller = self._caller_port.send
        if legs is not None:
            self._transcode(*legs)

    def settle(self, answer: bytes) -> None:
        """See `AudioPath`."""
        audio = self._audio
        if not audio.theirs:  # the caller has our offer and has not answered it yet
            return
        carried = self._carry(self._asked, answer)
        if carried.transcoded:
            self._transcode(
                caller=spoken_on_leg(audio.shown, audio.theirs, audio.shown),
                agent=spoken_on_leg(self._agent_knows, answer, answer),
            )
        else:
            self._pass(carried.voice)

    def follow_caller(self, description: bytes) -> None:
        """See `AudioPath`."""
        self._audio.theirs = description
        self._caller_port.set_remote(*rtp_address(description))

    def follow_agent(self, description: bytes) -> None:
        """See `AudioPath`."""
        self._agent_port.set_remote(*rtp_address(description))

    def silence(self, now: float) -> tuple[float, float]:
        """See `AudioPath`."""
        return self._relay.silence(now)

    async def last_look(self) -> None:
        """See `AudioPath`; nobody has to be asked."""

    def close(self) -> None:
        """See `AudioPath`."""
        if not self._closed:
            self._closed = True
            self._relay.detach()

    def _carry(self, offer: bytes, answer: bytes) -> Carried:
        return carry(offer, answer) if self._transcodes else Carried(answer, voice_in(answer))

    def _pass(self, voice: Codec | None) -> None:
        """Let packets through as they are."""
        if voice is not None:
            for port in (self._caller_port, self._agent_port):
                port.stats.speaks(voice.name.upper(), voice.clock_rate)
        self._legs = None
        self._join(self._agent_port.send, self._caller_port.send)

    def _transcode(self, caller: SpokenOnLeg | None, agent: SpokenOnLeg | None) -> None:
        """Give each side what it speaks. Raises SdpError where one of them speaks nothing of ours."""
        if caller is None or agent is None:
            raise SdpError("no codec to transcode")
        if self._legs == (caller, agent):
            return  # a hold, a refresh: streams go on as they are
        self._legs = caller, agent
        for leg, port in ((caller, self._caller_port), (agent, self._agent_port)):
            port.stats.speaks(leg.voice.name.upper(), leg.voice.clock_rate)
        there = StreamTranscoder(caller.codecs, caller.events, agent.form, self._agent_port.send)
        back = StreamTranscoder(agent.codecs, agent.events, caller.form, self._caller_port.send)
        self._join(there.receive, back.receive)

    def _join(self, to_agent: PacketSink, to_caller: PacketSink) -> None:
        """Where packets of either side go from now on; the agent's first one still passes by `on_agent`."""
        self._caller_port.sink = to_agent
        if self._agent_port.sink == self._to_caller:
            self._agent_port.sink = to_caller
        self._to_caller = to_caller

    def _first_packet(self, packet: bytes) -> None:
        self._on_agent()
        self._agent_port.sink = self._to_caller
        self._to_caller(packet)


def refuse_keys(offer: bytes) -> None:
    """A leg that began in the clear stays so: keys that came later are for nobody here. Raises SdpError."""
    if SECURE in offer:
        raise SdpError("SRTP was not agreed on for this call")

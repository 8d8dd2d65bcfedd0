"""The caller's end of a call's audio: what was offered, what was agreed, and our port for it.

It outlives the destinations: a call that moves on from one to the next keeps its port, its codec, and one
continuous session description as the caller sees it (RFC 3264 §8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from gateway.destinations.described import described
from gateway.destinations.direction import RECEIVING, resumed
from gateway.destinations.leg_security import LegSecurity
from gateway.media.codecs import AudioCodec, find
from gateway.media.ports import MediaPort, MediaPorts, Network
from gateway.media.reception import PortStats
from gateway.media.tapped_port import PacketTap, TappedPort
from gateway.sip.sdp import Codec, Media, SdpError, restrict_to
from gateway.sip.secure_profiles import cleared


class CallerAudio:
    """One caller's audio.

    Args:
        offer: the session description of the INVITE; empty when the caller leaves the offer to us.
        ports: where our port comes from, if one is needed.
        session_id: names the session in descriptions that we make ourselves (RFC 8866 §5.2).
        latch_ranges: networks that the carrier's media comes from; None for any.
        security: the caller's SRTP; None if its audio is in the clear.

    Attributes:
        theirs: the caller's latest session description; without its keys, unless its media is direct.
        shown: the latest one that the caller has from us, as an answer or as early media.
        port: our RTP port for the caller; None until a destination needs one.
        through_port: what was shown points at our port (and not at an agent's own address).
        elsewhere: what a relay that is not ours has heard of the caller; None if there was none.
        tap: hears whatever goes through the port, for a recording; all audio has to go through it then. Set
            before the port is opened.

    """

    __slots__ = (
        "_heard",
        "_ipv6",
        "_latch_ranges",
        "_origin",
        "_ports",
        "_spoken",
        "elsewhere",
        "port",
        "security",
        "session_id",
        "shown",
        "tap",
        "theirs",
        "through_port",
    )

    def __init__(
        self,
        offer: bytes,
        ports: MediaPorts,
        *,
        session_id: int,
        latch_ranges: Sequence[Network] | None = None,
        security: LegSecurity | None = None,
        ipv6: bool = False,
    ) -> None:
        self.session_id = session_id
        self.theirs = offer
        self.shown = b""
        self.port: MediaPort | None = None
        self.through_port = False
        self.elsewhere: PortStats | None = None
        self.tap: PacketTap | None = None
        self.security = security
        self._spoken: tuple[bytes, bytes, _Forms] = (b"", b"", {})
        self._ports = ports
        self._latch_ranges = latch_ranges
        self._ipv6 = ipv6
        self._origin: _Origin | None = None
        self._heard: PortStats | None = None

    @property
    def as_it_came(self) -> bytes:
        """The caller's latest session description with its keys, for an agent with direct media."""
        return self.theirs if self.security is None else self.security.as_it_came

    def pass_by(self) -> None:
        """From now on audio passes by us, and so do keys."""
        if self.security is not None:
            self.security.transparent = True

    @property
    def listening(self) -> bool:
        """Whether the caller wants to hear anything (RFC 3264 §8.4): it does not hold."""
        return not self.theirs or described(self.theirs).audio.direction in RECEIVING

    def open_port(self) -> MediaPort:
        """Our port towards the caller, opened at the first need and aimed at the caller's address.

        Raises:
            NoPortLeft: the range is exhausted.
            SdpError: the caller's session description has no audio, or makes no sense, or asks for an SRTP
                that we do not speak.

        """
        if self.security is not None:
            if self.security.fault:
                raise SdpError(self.security.fault)
            if self.security.transparent:
                self.security.transparent = False
                self.theirs = cleared(self.theirs)
        if self.port is None:
            target = rtp_address(self.theirs) if self.theirs else None
            ipv6 = self._ipv6 if target is None else ":" in target[0]
            port = self._ports.open(self._latch_ranges, ipv6=ipv6)
            self.port = port if self.tap is None else TappedPort(port, self.tap)
            if self.security is not None:
                self.security.attach(self.port)
            if target is not None:
                self.port.set_remote(*target)
        return self.port

    def open_agent_port(self, *, ipv6: bool = False) -> MediaPort:
        """A port towards an agent; whoever asks for it closes it.

        ipv6: whether the agent is reached over IPv6.

        Raises:
            NoPortLeft: the range is exhausted.

        """
        return self._ports.open(ipv6=ipv6)

    def codec_of(self, side: Literal["caller", "agent"], payload_type: int) -> AudioCodec | None:
        """What a packet between the caller and us is in, by the descriptions of both.

        side: who sends it. Both number alike as a rule; where not, what one side asked for counts
            (RFC 3264 §5.1).
        """
        if self._spoken[0] is not self.shown or self._spoken[1] is not self.theirs:
            self._spoken = self.shown, self.theirs, _forms(self.shown, self.theirs)
        return self._spoken[2].get((side, payload_type))

    @property
    def heard(self) -> PortStats | None:
        """What our port has seen, also after it was closed, or a relay elsewhere; None if there was none."""
        if self.elsewhere is not None and not self.through_port:
            return self.elsewhere
        return self.port.stats if self.port is not None else self._heard

    def close_port(self) -> None:
        """Give our port back; the caller's audio flows elsewhere, or the call is over. Idempotent."""
        if self.port is not None:
            self._heard = self.port.stats
            self.port.close()
            self.port = None

    def agreed(self) -> tuple[Codec, Codec | None] | None:
        """The codec (and telephone-event) that the caller was shown, or None while nothing was.

        Of several it is the first that the caller speaks, too: what was shown may have been an offer.
        """
        if not self.shown:
            return None
        shown = described(self.shown)
        spoken = {codec.key for codec in described(self.theirs).codecs} if self.theirs else None
        voices = [codec for codec in shown.codecs if codec.is_voice]
        voice = next((codec for codec in voices if spoken is None or codec.key in spoken), None)
        if voice is None:
            return None
        return voice, events_for(voice, shown.audio)

    def offer(self) -> bytes:
        """What the next destination is offered: the caller's own offer, narrowed to what was agreed already.

        Empty when the caller made no offer.

        Raises:
            SdpError: the caller's session description cannot be understood.

        """
        return self._narrowed(self.theirs)

    def direct_offer(self) -> bytes:
        """The same with the caller's keys, for an agent that gets its audio directly. Raises SdpError."""
        return self._narrowed(self.as_it_came)

    def _narrowed(self, theirs: bytes) -> bytes:
        agreed = self.agreed() if theirs else None
        offer = restrict_to(theirs, *agreed) if agreed else theirs
        return resumed(offer) if self.held_by_us else offer

    @property
    def held_by_us(self) -> bool:
        """Whether an agent has put the caller on hold: what the caller said to that holds for nobody else."""
        return b"a=sendonly" in self.shown or b"a=inactive" in self.shown

    def change_hands(self) -> None:
        """Begin with another destination: from now on its session descriptions continue what was shown."""
        if self.shown:
            self._origin = _Origin.of(self.shown)

    def present(self, description: bytes, *, through_port: bool) -> bytes:
        """The description as the caller may see it: one session, each version above the last."""
        if self._origin is not None:
            description = self._origin.continued(description)
        self.shown = description
        self.through_port = through_port
        return description


_Forms: TypeAlias = dict[tuple[Literal["caller", "agent"], int], AudioCodec]


def _forms(shown: bytes, theirs: bytes) -> _Forms:
    """By who sends it and its payload type."""
    forms: _Forms = {}
    sides: tuple[tuple[Literal["caller", "agent"], tuple[bytes, bytes]], ...] = (
        ("caller", (theirs, shown)),
        ("agent", (shown, theirs)),
    )
    for side, descriptions in sides:
        for description in descriptions:  # the last one counts: it is what the receiver asked for
            try:
                codecs = described(description).codecs
            except SdpError:  # or there is none yet
                continue
            for codec in codecs:
                form = find(codec.name, codec.clock_rate)
                if form is not None:
                    forms[side, codec.payload_type] = form
    return forms


def rtp_address(description: bytes) -> tuple[str, int, int | None]:
    """Where a session description wants its audio: host, RTP port, and RTCP port if it names one.

    Raises:
        SdpError: it has no audio, or makes no sense.

    """
    return described(description).audio.addresses


def events_for(voice: Codec, audio: Media) -> Codec | None:
    """The telephone-event whose clock is the voice codec's (RFC 4733 §2.5.1.1), if there is one."""
    events = (codec for codec in audio.codecs if codec.is_dtmf and codec.clock_rate == voice.clock_rate)
    return next(events, None)


class _Origin:
    """The ``o=`` line that a caller knows (RFC 8866 §5.2): user, session id, and a version that counts up."""

    __slots__ = ("_session", "_version")

    def __init__(self, session: bytes, version: int) -> None:
        self._session = session
        self._version = version

    @classmethod
    def of(cls, description: bytes) -> _Origin | None:
        start, end = _origin_line(description)
        fields = description[start:end].split()
        if len(fields) != 6 or not fields[2].isdigit():
            return None
        return cls(b" ".join(fields[:2]), int(fields[2]))

    def continued(self, description: bytes) -> bytes:
        start, end = _origin_line(description)
        fields = description[start:end].split()
        if len(fields) != 6:
            return description
        self._version += 1
        line = b" ".join([self._session, b"%d" % self._version, *fields[3:]])
        return description[:start] + line + description[end:]


def _origin_line(description: bytes) -> tuple[int, int]:
    """Where the value of the ``o=`` line begins and ends; an empty range when there is none."""
    start = description.find(b"\no=") + 3
    if start < 3:
        return 0, 0
    end = description.find(b"\n", start)
    end = len(description) if end < 0 else end
    return start, end - 1 if description[end - 1 : end] == b"\r" else end

"""SRTP on one leg: keys agreed on with the peer, packets sealed by the leg's own port.

Everything behind the leg sees descriptions and packets in the clear; caller's and agent's side are secured,
or not, independently of each other. Which description is an offer and which an answer is known from the event
that brought it, or from the verb by which it leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal, Protocol, TypeAlias

from gateway.destinations.dtls_keys import DtlsKeys
from gateway.destinations.sdes_keys import SdesKeys
from gateway.media.ports import MediaPort
from gateway.sip.dtls_setup import by_dtls
from gateway.sip.events import (
    AckReceived,
    AnswerReceived,
    Event,
    ProvisionalReceived,
    ReinviteAnswered,
    ReinviteReceived,
    SessionRefreshed,
)
from gateway.sip.session_description import SdpError

SrtpPolicy: TypeAlias = Literal["off", "optional", "required"]
"""Whether a leg's audio is encrypted: never, if the peer wants it, or else there is no call."""

UNACCEPTABLE: Final = (
    b"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\n"
)
"""Stands for a description whose security cannot be agreed to: it has no audio, so nobody accepts it."""


class KeyAgreement(Protocol):
    """One way to keys: SDES, or DTLS. Descriptions go in and out in the order of offer and answer."""

    def attach(self, port: MediaPort) -> None:
        """Encrypt this port: nothing leaves it in the clear any more."""

    def offer_came(self, offer: bytes) -> bytes:
        """The peer's offer in the clear. Raises SdpError."""

    def answer_came(self, answer: bytes) -> bytes:
        """The peer's answer to our latest offer in the clear. Raises SdpError."""

    def answer(self, description: bytes) -> bytes:
        """Our answer to the peer's latest offer, with keys."""

    def offer(self, description: bytes) -> bytes:
        """Our offer, with keys."""


class LegSecurity:
    """The keys of one leg, and what its peer was told of them.

    Attributes:
        transparent: descriptions pass as they are, since audio passes by us (direct media).
        fault: why the peer's latest description was not acceptable; empty if it was.
        as_it_came: the peer's latest description, keys and all.

    """

    __slots__ = ("_keys", "_new_keys", "_offerer", "as_it_came", "fault", "transparent")

    def __init__(self, new_keys: Callable[[], KeyAgreement] = SdesKeys) -> None:
        """Args: new_keys: how keys are agreed on when it is we who offer; a peer that offers says it."""
        self._new_keys = new_keys
        self._keys: KeyAgreement | None = None
        self._offerer: Literal["us", "peer"] | None = None
        self.transparent = False
        self.fault = ""
        self.as_it_came = b""

    def attach(self, port: MediaPort) -> None:
        """Encrypt this port: nothing leaves it in the clear any more."""
        self._agreement().attach(port)

    # What comes.

    def came(self, event: Event) -> Event:
        """See `gateway.sip.session_guard.SessionGuard`."""
        match event:
            case ReinviteReceived():
                self._offerer = None
                if event.request.body:
                    event.request.body = self.offer_came(event.request.body)
            case ProvisionalReceived() | ReinviteAnswered():
                if event.response.body:
                    event.response.body = self._came(event.response.body)
            case AnswerReceived():
                if event.body:
                    event.response.body = self._came(event.body)
                    return replace(event, body=event.response.body)
            case AckReceived() | SessionRefreshed():
                if event.body:
                    return replace(event, body=self._answer_came(event.body))
        return event

    def offer_came(self, offer: bytes) -> bytes:
        """The peer's offer in the clear, or `UNACCEPTABLE`."""
        self.as_it_came = offer
        self._offerer = "peer"
        if self.transparent:
            return offer
        if self._keys is None and by_dtls(offer):
            self._keys = DtlsKeys()
        return self._understood(self._agreement().offer_came, offer)

    def _came(self, description: bytes) -> bytes:
        """An answer if we have made an offer, else an offer."""
        return self._answer_came(description) if self._offerer == "us" else self.offer_came(description)

    def _answer_came(self, answer: bytes) -> bytes:
        self.as_it_came = answer
        return answer if self.transparent else self._understood(self._agreement().answer_came, answer)

    def _understood(self, read: Callable[[bytes], bytes], description: bytes) -> bytes:
        self.fault = ""
        try:
            return read(description)
        except SdpError as error:
            self.fault = error.reason
            return UNACCEPTABLE

    # What leaves.

    def leaves(self, description: bytes, *, offer: bool) -> bytes:
        """See `gateway.sip.session_guard.SessionGuard`."""
        if not description:
            self._offerer = None  # the peer is asked for an offer
            return description
        answers = not offer and self._offerer == "peer"
        if not answers:
            self._offerer = "us"
        if self.transparent:
            return description
        keys = self._agreement()
        return keys.answer(description) if answers else keys.offer(description)

    def _agreement(self) -> KeyAgreement:
        if self._keys is None:
            self._keys = self._new_keys()
        return self._keys

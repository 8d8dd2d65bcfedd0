"""SRTP on one leg: keys told by SDES (RFC 4568), packets sealed by the leg's own port.

Everything behind the leg sees descriptions and packets in the clear; caller's and agent's side are secured,
or not, independently of each other. Which description is an offer and which an answer is known from the event
that brought it, or from the verb by which it leaves.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Literal, TypeAlias

from gateway.media.ports import MediaPort
from gateway.media.srtp import SrtpSeal
from gateway.sip.events import (
    AckReceived,
    AnswerReceived,
    Event,
    ProvisionalReceived,
    ReinviteAnswered,
    ReinviteReceived,
    SessionRefreshed,
)
from gateway.sip.sdes import SECURE, SUITES, Crypto, cleared, offered_keys, profiles, secured
from gateway.sip.session_description import SdpError

SrtpPolicy: TypeAlias = Literal["off", "optional", "required"]
"""Whether a leg's audio is encrypted: never, if the peer wants it, or else there is no call."""

UNACCEPTABLE: Final = (
    b"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\n"
)
"""Stands for a description whose security cannot be agreed to: it has no audio, so nobody accepts it."""

NO_SUITE: Final = "no SRTP suite of ours in the session description"
IN_THE_CLEAR: Final = "a secure session answered or changed in the clear"


class LegSecurity:
    """The keys of one leg, and what its peer was told of them.

    Attributes:
        transparent: descriptions pass as they are, since audio passes by us (direct media).
        fault: why the peer's latest description was not acceptable; empty if it was.
        as_it_came: the peer's latest description, keys and all.

    """

    __slots__ = (
        "_chosen",
        "_from_peer",
        "_new_key",
        "_offered",
        "_offerer",
        "_profiles",
        "_seal",
        "_to_peer",
        "as_it_came",
        "fault",
        "transparent",
    )

    def __init__(self, new_key: Callable[[int], bytes] = secrets.token_bytes) -> None:
        """Args: new_key: so many random bytes."""
        self._new_key = new_key
        self._seal = SrtpSeal()
        self._offerer: Literal["us", "peer"] | None = None
        self._offered: Sequence[Crypto] = ()
        self._chosen: Crypto | None = None
        self._profiles: list[bytes] = []
        self._to_peer: Crypto | None = None
        self._from_peer: Crypto | None = None
        self.transparent = False
        self.fault = ""
        self.as_it_came = b""

    def attach(self, port: MediaPort) -> None:
        """Encrypt this port: nothing leaves it in the clear any more."""
        port.secure(self._seal)

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
        keys = self._keys(offer)
        if not keys:
            return UNACCEPTABLE
        self._chosen = keys[0]
        self._profiles = profiles(offer)
        return cleared(offer)

    def _came(self, description: bytes) -> bytes:
        """An answer if we have made an offer, else an offer."""
        return self._answer_came(description) if self._offerer == "us" else self.offer_came(description)

    def _answer_came(self, answer: bytes) -> bytes:
        self.as_it_came = answer
        if self.transparent:
            return answer
        keys = self._keys(answer)
        if not keys:
            return UNACCEPTABLE
        theirs = keys[0]
        ours = next(
            (one for one in self._offered if (one.tag, one.suite) == (theirs.tag, theirs.suite)), None
        )
        if ours is None:
            self.fault = "answered with another SRTP suite than was offered"
            return UNACCEPTABLE
        self._agree(ours, theirs)
        return cleared(answer)

    def _keys(self, description: bytes) -> list[Crypto]:
        self.fault = ""
        try:
            keys = offered_keys(description)
        except SdpError as error:
            self.fault = error.reason
            return []
        if not keys:
            self.fault = NO_SUITE if SECURE in description else IN_THE_CLEAR
        return keys

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
        return self._answer(description) if answers else self._offer(description)

    def _answer(self, description: bytes) -> bytes:
        chosen, ours, last = self._chosen, self._to_peer, self._from_peer
        if chosen is None:
            return description  # there was nothing to agree to, and it refuses all
        unchanged = last is not None and (last.suite, last.key) == (chosen.suite, chosen.key)
        if ours is None or ours.suite != chosen.suite or not unchanged:
            # Whoever has new keys may be somebody new, who does not know how often our numbers have wrapped.
            ours = Crypto(chosen.tag, chosen.suite, self._new_key(SUITES[chosen.suite]))
        ours = replace(ours, tag=chosen.tag)
        self._offered = (ours,)
        self._agree(ours, chosen)
        return secured(description, self._offered, self._profiles)

    def _offer(self, description: bytes) -> bytes:
        if self._to_peer is not None:  # as before: whoever knows these keys keeps them (RFC 4568 §7.1.4)
            self._offered = (self._to_peer,)
        else:
            self._offered = tuple(
                Crypto(tag, suite, self._new_key(length))
                for tag, (suite, length) in enumerate(SUITES.items(), 1)
            )
        return secured(description, self._offered)

    def _agree(self, ours: Crypto, theirs: Crypto) -> None:
        self._to_peer, self._from_peer = ours, theirs
        self._seal.receive_with(theirs.suite, theirs.key)
        self._seal.send_with(ours.suite, ours.key)

"""SRTP keys of one leg that stand in its session descriptions (RFC 4568)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.media.ports import MediaPort
from gateway.media.srtp import SrtpSeal
from gateway.sip.sdes import SUITES, Crypto, offered_keys, secured
from gateway.sip.secure_profiles import SECURE, cleared, profiles
from gateway.sip.session_description import SdpError

NO_SUITE = "no SRTP suite of ours in the session description"
IN_THE_CLEAR = "a secure session answered or changed in the clear"


class SdesKeys:
    """See `gateway.destinations.leg_security.KeyAgreement`."""

    __slots__ = ("_chosen", "_from_peer", "_new_key", "_offered", "_profiles", "_seal", "_to_peer")

    def __init__(self, new_key: Callable[[int], bytes] = secrets.token_bytes) -> None:
        """Args: new_key: so many random bytes."""
        self._new_key = new_key
        self._seal = SrtpSeal()
        self._offered: Sequence[Crypto] = ()
        self._chosen: Crypto | None = None
        self._profiles: list[bytes] = []
        self._to_peer: Crypto | None = None
        self._from_peer: Crypto | None = None

    def attach(self, port: MediaPort) -> None:
        """See `KeyAgreement`."""
        port.secure(self._seal)

    def offer_came(self, offer: bytes) -> bytes:
        """See `KeyAgreement`."""
        self._chosen = _keys(offer)[0]
        self._profiles = profiles(offer)
        return cleared(offer)

    def answer_came(self, answer: bytes) -> bytes:
        """See `KeyAgreement`."""
        theirs = _keys(answer)[0]
        ours = next(
            (one for one in self._offered if (one.tag, one.suite) == (theirs.tag, theirs.suite)), None
        )
        if ours is None:
            raise SdpError("answered with another SRTP suite than was offered")
        self._agree(ours, theirs)
        return cleared(answer)

    def answer(self, description: bytes) -> bytes:
        """See `KeyAgreement`."""
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

    def offer(self, description: bytes) -> bytes:
        """See `KeyAgreement`."""
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


def _keys(description: bytes) -> list[Crypto]:
    """Those that we speak, one at least. Raises SdpError."""
    keys = offered_keys(description)
    if not keys:
        raise SdpError(NO_SUITE if SECURE in description else IN_THE_CLEAR)
    return keys

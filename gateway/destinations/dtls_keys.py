"""SRTP keys of one leg that are agreed on in the media path (RFC 5763): descriptions name certificates."""

from __future__ import annotations

from typing import Final, Literal

import structlog

from gateway.media.dtls import identity
from gateway.media.dtls_exchange import DtlsExchange
from gateway.media.ports import MediaPort
from gateway.sip.dtls_setup import DtlsEnd, Fingerprint, Setup, by_dtls, read_end, with_end
from gateway.sip.secure_profiles import cleared, profiles
from gateway.sip.session_description import SdpError

OTHERWISE: Final = "a session by DTLS answered or changed otherwise"

log = structlog.get_logger("gateway.media")


class DtlsKeys:
    """See `gateway.destinations.leg_security.KeyAgreement`."""

    __slots__ = ("_exchange", "_fingerprint", "_profiles", "_setup", "_theirs")

    def __init__(self) -> None:
        own = identity()
        self._fingerprint = Fingerprint("sha-256", own.digest)
        self._exchange = DtlsExchange(own, _failed)
        self._theirs: DtlsEnd | None = None
        self._profiles: list[bytes] = []
        self._setup: Literal["active", "passive"] | None = None

    def attach(self, port: MediaPort) -> None:
        """See `KeyAgreement`."""
        port.exchange_keys(self._exchange)
        port.secure(self._exchange.seal)

    def offer_came(self, offer: bytes) -> bytes:
        """See `KeyAgreement`."""
        self._theirs = _end(offer)
        self._profiles = profiles(offer)
        return cleared(offer)

    def answer_came(self, answer: bytes) -> bytes:
        """See `KeyAgreement`."""
        theirs = _end(answer)
        self._settle(theirs, "active" if theirs.setup == "passive" else "passive")
        return cleared(answer)

    def answer(self, description: bytes) -> bytes:
        """See `KeyAgreement`.

        We let the peer begin wherever we may: one behind a NAT is not reached before it has sent something.
        """
        theirs = self._theirs
        if theirs is None:
            return description  # there was nothing to agree to, and it refuses all
        setup = self._setup if theirs.setup == "actpass" else None
        setup = setup or ("active" if theirs.setup == "passive" else "passive")
        self._settle(theirs, setup)
        return with_end(description, self._fingerprint, setup, self._profiles)

    def offer(self, description: bytes) -> bytes:
        """See `KeyAgreement`; the answerer says who begins (RFC 5763 §5), and keeps to what it has said."""
        setup: Setup = "actpass"
        return with_end(description, self._fingerprint, setup)

    def _settle(self, theirs: DtlsEnd, setup: Literal["active", "passive"]) -> None:
        self._setup = setup
        digests = tuple((each.algorithm, each.digest) for each in theirs.fingerprints)
        self._exchange.settle(digests, client=setup == "active")


def _end(description: bytes) -> DtlsEnd:
    """What the peer says. Raises SdpError."""
    if not by_dtls(description):
        raise SdpError(OTHERWISE)
    return read_end(description)


def _failed(reason: str) -> None:
    log.warning("no keys for a leg's audio, so it is not heard", error=reason)

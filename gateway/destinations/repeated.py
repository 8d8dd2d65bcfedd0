"""What a party has from us, said again: the answer to an offer that changes no more than an address."""

from __future__ import annotations

from gateway.destinations.described import described
from gateway.destinations.direction import permitted
from gateway.sip.sdp import SdpError, with_codecs


def repeated(known: bytes, offer: bytes) -> bytes:
    """Our latest description as the answer to `offer`: of its codecs those that were offered.

    known: may have been an offer of ours, with more codecs than an answer may have (RFC 3264 §6.1).

    Raises:
        SdpError: the offer has none of them, or one of the two makes no sense.

    """
    offered = {codec.key for codec in described(offer).codecs}
    codecs = described(known).codecs
    kept = [codec for codec in codecs if codec.key in offered]
    if not any(codec.is_voice for codec in kept):
        raise SdpError("No common codec")
    return permitted(known if len(kept) == len(codecs) else with_codecs(known, kept), offer)

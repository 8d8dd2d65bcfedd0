"""What a carrier's entry says of its callers' encryption."""

from __future__ import annotations

from gateway.admission.carriers import Carrier
from gateway.destinations.leg_security import LegSecurity
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.secure_profiles import SECURE


def security_of(leg: InboundLeg, carrier: Carrier) -> LegSecurity | None:
    """The SRTP of a caller that wants it, or must have it."""
    if SECURE not in leg.request.body and carrier.srtp != "required":
        return None
    security = LegSecurity()
    leg.guard = security
    return security


def against_policy(offer: bytes, carrier: Carrier) -> str | None:
    """Why a caller's offer is not taken, as far as its carrier's SRTP goes."""
    secure = SECURE in offer
    if secure and carrier.srtp == "off":
        return "SRTP is off for this carrier"
    if offer and not secure and carrier.srtp == "required":
        return "SRTP is required of this carrier"
    return None

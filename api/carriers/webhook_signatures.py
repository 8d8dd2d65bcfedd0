"""Whether the carrier signed: Twilio by an HMAC of address and form, Telnyx by Ed25519 over time and body."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlparse

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from multidict import MultiDict
from twilio.request_validator import RequestValidator, add_port, remove_port

CLOCK_SECONDS: Final = 300
"""That Telnyx's clock and ours may differ, and that a webhook may be under way."""

KEY_BYTES: Final = 32


def from_twilio(token: str, url: str, form: Sequence[tuple[str, str]], signature: str | None) -> bool:
    """Whether Twilio signed this.

    token: the account's; url: as Twilio was told it, with its query; form: of the body, decoded.
    Twilio is not consistent about a port in the address, so that both forms of it are tried. Source: Twilio's
    page on the security of webhooks, and its SDK, which compares in a time that depends on the difference.
    """
    if not signature or not signature.isascii():
        return False
    validator = RequestValidator(token)
    try:
        parsed = urlparse(url)
        addresses = {url, add_port(parsed), remove_port(parsed)}
    except ValueError:
        return False
    fields = MultiDict(form)
    return any(
        hmac.compare_digest(validator.compute_signature(each, fields), signature) for each in addresses
    )


def from_telnyx(
    public_key: str, timestamp: str | None, body: bytes, signature: str | None, *, now: float
) -> bool:
    """Whether Telnyx signed this, a moment ago.

    public_key, signature: base64; timestamp: seconds since the epoch, as Telnyx sent them; now: the same.
    """
    if not timestamp or not signature or not (timestamp.isascii() and timestamp.isdigit()):
        return False
    if len(timestamp) > len("9999999999") or abs(now - int(timestamp)) > CLOCK_SECONDS:
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        key.verify(base64.b64decode(signature, validate=True), timestamp.encode() + b"|" + body)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def is_public_key(text: str) -> bool:
    """Whether a text can be Telnyx's public key: 32 bytes in base64."""
    try:
        return len(base64.b64decode(text, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False

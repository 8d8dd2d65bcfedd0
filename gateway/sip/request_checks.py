"""Whether a request can be taken at all: RFC 3261 §8.2.1 to §8.2.3 and RFC 4028 §9, as a pure function."""

from __future__ import annotations

from typing import NamedTuple

from gateway.sip.core import ALLOW, ALLOWED_METHODS
from gateway.sip.extensions import TIMER, Extensions, lists_option
from gateway.sip.message import Request
from gateway.sip.session_timer import min_se, session_expires
from gateway.sip.uri import OtherUri, parse_uri

KNOWN_METHODS = frozenset(
    {
        *ALLOWED_METHODS,
        "MESSAGE",  # RFC 3428
        "NOTIFY",  # RFC 6665
        "PUBLISH",  # RFC 3903
        "REGISTER",
        "SUBSCRIBE",  # RFC 6665
    }
)
"""Methods that somebody has defined: refused with 405 if not allowed here; any other gets 501."""

SDP_TYPE = "application/sdp"


class Refusal(NamedTuple):
    """Why a request is refused: what to answer."""

    status: int
    reason: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


NO_CHOICES = Extensions()


def check_request(
    request: Request, *, in_dialog: bool, extensions: Extensions = NO_CHOICES
) -> Refusal | None:
    """What is wrong with a request other than ACK and CANCEL; None if it can be taken.

    in_dialog: its Request-URI is our own Contact, so that only other requests have theirs examined.
    extensions: what it may require.

    Raises SipParseError (400) for a header that cannot be read.
    """
    method = request.method
    if method not in ALLOWED_METHODS:
        parse_uri(request.uri)
        return Refusal(405 if method in KNOWN_METHODS else 501, None, (ALLOW,))
    if not in_dialog and isinstance(parse_uri(request.uri), OtherUri):
        return Refusal(416)
    headers = request.headers
    first = headers.first  # most of these headers are absent
    if request.max_forwards == 0:
        return Refusal(483)
    if "Content-Encoding" in first and _encoded(headers.get_all("Content-Encoding")):
        return Refusal(415, "Unsupported Content-Encoding", (("Accept-Encoding", "identity"),))
    if "Require" in first and (unknown := _unsupported(headers.get_all("Require"), extensions)):
        return Refusal(420, None, (("Unsupported", ", ".join(unknown)),))
    timed = "Session-Expires" in first or "Min-SE" in first
    if timed and (refusal := _check_timer(request, extensions)) is not None:
        return refusal
    if method == "INVITE":
        return _check_invite(request)
    return _check_body(request) if method in {"UPDATE", "PRACK"} else None


def _encoded(values: list[str]) -> bool:
    return any(value.strip().lower() != "identity" for value in values)


def _unsupported(required: list[str], extensions: Extensions) -> list[str]:
    tags = [tag.strip() for line in required for tag in line.split(",")]
    return [tag for tag in tags if tag and tag.lower() not in extensions.tags]


def _check_timer(request: Request, extensions: Extensions) -> Refusal | None:
    """Refuse a session timer that is too short, if its sender understands that (RFC 4028 §9)."""
    wanted, _ = session_expires(request), min_se(request)
    short = wanted is not None and wanted.seconds < extensions.min_se
    if short and lists_option(request, "Supported", TIMER):
        return Refusal(422, None, (("Min-SE", str(extensions.min_se)),))
    return None


def _check_invite(request: Request) -> Refusal | None:
    if request.contact is None:
        return Refusal(400, "Missing Contact header")
    accepted = request.headers.get_all("Accept")
    if accepted and not _takes_sdp(accepted):
        return Refusal(406, "A session description is not accepted")
    return _check_body(request)


def _check_body(request: Request) -> Refusal | None:
    if not request.body:
        return None
    content_type = request.headers.get("Content-Type")
    if content_type is None:
        return Refusal(400, "Missing Content-Type header")
    if content_type.partition(";")[0].strip().lower() != SDP_TYPE:
        return Refusal(415, None, (("Accept", SDP_TYPE),))
    return None


def _takes_sdp(accepted: list[str]) -> bool:
    """Whether Accept has our only kind of body (§20.1)."""
    ranges = {one.partition(";")[0].strip().lower() for line in accepted for one in line.split(",")}
    return not ranges.isdisjoint({SDP_TYPE, "application/*", "*/*"})


def metric_method(method: str) -> str:
    """The method as a label: a peer must not be able to make up new ones."""
    return method if method in KNOWN_METHODS else "OTHER"

"""The messages of RFC 5118: IPv6 wherever an address may stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.sip.message import Request, parse_message
from gateway.sip.sdp import SessionDescription
from gateway.sip.uri import SipUri, UriError, parse_uri

MESSAGES = Path(__file__).parents[1] / "data" / "torture" / "rfc5118"

TARGETS: dict[str, tuple[str, int | None] | None] = {
    "ipv4-mapped-ipv6": ("example.com", None),
    "ipv6-bad": None,  # §4.2: without brackets it is no IPv6 reference, and refused with 400
    "ipv6-bug-abnf-3-colons": ("2001:db8:::192.0.2.1", None),  # §4.10: let through, the host is no address
    "ipv6-correct-abnf-2-colons": ("2001:db8::192.0.2.1", None),
    "ipv6-good": ("2001:db8::10", None),
    "ipv6-in-sdp": ("2001:db8::10", None),
    "mult-ip-in-header": ("host.example.net", None),
    "mult-ip-in-sdp": ("2001:db8::10", None),
    "port-ambiguous": ("2001:db8::10:5070", None),  # §4.3: inside of the brackets it is no port
    "port-unambiguous": ("2001:db8::10", 5070),  # §4.4
    "via-received-param-no-delim": ("2001:db8::10", None),
    "via-received-param-with-delim": ("2001:db8::10", None),
}
"""Each message's Request-URI: host and port, None if it cannot be read."""


def accepted(name: str) -> Request:
    message = parse_message((MESSAGES / f"{name}.dat").read_bytes())
    assert isinstance(message, Request)
    return message


def test_every_message_has_its_verdict() -> None:
    assert sorted(TARGETS) == sorted(path.stem for path in MESSAGES.glob("*.dat"))


@pytest.mark.parametrize(("name", "target"), TARGETS.items())
def test_the_target_is_read(name: str, target: tuple[str, int | None] | None) -> None:
    request = accepted(name)
    if target is None:
        with pytest.raises(UriError) as caught:
            parse_uri(request.uri)
        assert caught.value.status == 400
        return
    uri = parse_uri(request.uri)
    assert isinstance(uri, SipUri)
    assert (uri.host, uri.port) == target
    assert str(uri) == request.uri


def test_vias_of_both_families() -> None:
    request = accepted("mult-ip-in-header")
    assert [(via.transport, via.host, via.port) for via in request.vias] == [
        ("UDP", "2001:db8::9:1", 6050),
        ("UDP", "192.0.2.1", None),
        ("TCP", "2001:db8::9:255", None),
    ]
    assert accepted("ipv4-mapped-ipv6").via.host == "::ffff:192.0.2.10"


def test_received_with_and_without_brackets() -> None:
    """§4.5: both forms must be taken; each is repeated as it was written."""
    assert accepted("via-received-param-no-delim").via.param("received") == "2001:db8::9:255"
    assert accepted("via-received-param-with-delim").via.param("received") == "[2001:db8::9:255]"


def test_sessions_of_both_families() -> None:
    one = SessionDescription.parse(accepted("ipv6-in-sdp").body)
    assert [media.rtp_address for media in one.media] == [("2001:db8::20", 6000), ("2001:db8::20", 6024)]
    two = SessionDescription.parse(accepted("mult-ip-in-sdp").body)
    assert [media.rtp_address for media in two.media] == [("192.0.2.1", 22334), ("2001:db8::1", 6024)]
    mapped = SessionDescription.parse(accepted("ipv4-mapped-ipv6").body)
    assert mapped.connection == "::ffff:192.0.2.2"

from __future__ import annotations

import pytest

from gateway.sip.peer_identity import MAX_NAMES, certificate_names


@pytest.mark.parametrize(
    ("alternatives", "names"),
    [
        ((), ()),
        ((("DNS", "SIP.Example.com"), ("DNS", "example.net")), ("sip.example.com", "example.net")),
        ((("DNS", "host.example.com"), ("URI", "sip:example.com")), ("example.com",)),  # RFC 5922 §7.1
        ((("URI", "SIP:Example.com"),), ("example.com",)),
        ((("URI", "sip:alice@example.com"), ("DNS", "example.com")), ("example.com",)),
        ((("URI", "sips:example.com"), ("IP Address", "192.0.2.1")), ()),
        ((("URI", "https://example.com"), ("DNS", "*.example.com")), ("*.example.com",)),
    ],
)
def test_whom_a_certificate_vouches_for(alternatives, names) -> None:
    assert certificate_names({"subjectAltName": alternatives}) == names


def test_the_common_name_counts_for_nothing() -> None:
    assert certificate_names({"subject": ((("commonName", "sip.example.com"),),)}) == ()


def test_a_certificate_with_endless_names_is_read_to_its_cap() -> None:
    many = tuple(("DNS", f"{number}.example.com") for number in range(10_000))
    assert len(certificate_names({"subjectAltName": many})) == MAX_NAMES

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.addresses import (
    AddressError,
    format_address,
    is_ip_literal,
    is_public,
    is_wildcard,
    parse_address,
    same_family,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1:5060", ("192.0.2.1", 5060)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[2001:db8::1]:5060", ("2001:db8::1", 5060)),
        ("[::]:65535", ("::", 65_535)),
    ],
)
def test_an_address_is_read_and_written(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address
    assert format_address(address) == text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("192.0.2.1", "has no port; write host:port"),
        ("", "has no port"),
        ("::1:5060", "in brackets"),
        (":5060", "nothing is not an IP address"),
        ("voice.example.com:5060", "voice.example.com is not an IP address"),
        ("[192.0.2.256]:5060", "192.0.2.256 is not an IP address"),
        ("192.0.2.1:", "nothing is not a port"),
        ("192.0.2.1:65536", "65536 is not a port"),
        ("192.0.2.1:-1", "-1 is not a port"),
        ("192.0.2.1:٥", "is not a port"),
    ],
)
def test_what_is_no_address_says_why(text: str, fault: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert f'"{text}"' in str(caught.value)
    assert fault in str(caught.value)


@given(st.ip_addresses().map(str), st.integers(0, 65_535))
def test_writing_and_reading_is_identity(host: str, port: int) -> None:
    assert parse_address(format_address((host, port))) == (host, port)


@given(st.text(st.characters() | st.sampled_from(":[].0123456789"), max_size=30))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        host, port = parse_address(text)
    except AddressError:
        return
    assert is_ip_literal(host)
    assert 0 <= port <= 65_535


@pytest.mark.parametrize(
    ("host", "literal", "public"),
    [
        ("8.8.8.8", True, True),
        ("2606:4700::1", True, True),
        ("10.0.0.1", True, False),
        ("127.0.0.1", True, False),
        ("fe80::1%eth0", True, False),
        ("voice.example.com", False, False),
        ("", False, False),
    ],
)
def test_what_a_host_is(host: str, literal: bool, public: bool) -> None:
    assert is_ip_literal(host) == literal
    assert is_public(host) == public


def test_families_and_wildcards() -> None:
    assert same_family("::1", "2001:db8::1")
    assert same_family("127.0.0.1", "0.0.0.0")
    assert not same_family("127.0.0.1", "::1")
    assert is_wildcard("0.0.0.0")
    assert is_wildcard("::")
    assert not is_wildcard("127.0.0.1")

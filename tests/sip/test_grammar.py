"""The pieces of the grammar that all parsers share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.grammar import (
    KNOWN_HOST_PORTS,
    LocalProtocolError,
    SipParseError,
    checked,
    format_host,
    format_params,
    is_token,
    known_host_ports,
    parse_host_port,
    parse_params,
    split_outside,
)

NEAR_MISSES = st.text(alphabet='ab1.:;,=<>"\\[]@% \t-_é\r\n\0', max_size=40)
"""Texts of what the grammar is made of: most are wrong, some only just."""


@pytest.mark.parametrize("text", ["INVITE", "a-b.c!d%e*f_g+h`i'j~k", "0"])
def test_tokens(text: str) -> None:
    assert is_token(text)


@pytest.mark.parametrize("text", ["", "a b", "a:b", "a\n", "é", 'a"', "a@b", "a/b"])
def test_no_tokens(text: str) -> None:
    assert not is_token(text)


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\r\nX: y", "a\0b"])
def test_what_would_start_another_header_is_a_mistake_of_ours(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        checked(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]),
        (" a , b ", ["a", "b"]),
        ('"a,b" <sip:x>, c', ['"a,b" <sip:x>', "c"]),
        ("<sip:a,b>,c", ["<sip:a,b>", "c"]),
        (r'"a\",b",c', [r'"a\",b"', "c"]),
        ("<sip:a>,", ["<sip:a>", ""]),
        ("", [""]),
    ],
)
def test_lists_are_split_outside_of_quotes_and_brackets(text: str, parts: list[str]) -> None:
    assert split_outside(text, ",") == parts


@pytest.mark.parametrize("text", ['"a', "<sip:a", '"a\\"', 'a,"b,<c>'])
def test_what_is_never_closed_is_refused(text: str) -> None:
    with pytest.raises(SipParseError) as caught:
        split_outside(text, ",")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("tag=x", (("tag", "x"),)),
        ("Tag=X;LR", (("tag", "X"), ("lr", None))),
        (" branch = z9 ; rport ", (("branch", "z9"), ("rport", None))),
        ("branch=\tz9", (("branch", "z9"),)),
        ('reason="a;b";c=', (("reason", '"a;b"'), ("c", ""))),
        ("a=b=c", (("a", "b=c"),)),
    ],
)
def test_parameters(text: str, params: tuple[tuple[str, str | None], ...]) -> None:
    assert parse_params(text) == params


@pytest.mark.parametrize("text", ["", ";", "a;", "a;;b", "=x", 'a="b'])
def test_parameters_without_a_name(text: str) -> None:
    with pytest.raises(SipParseError):
        parse_params(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", None),
        ("voice.example.com:5080", "voice.example.com", 5080),
        (" host : 5060 ", "host", 5060),
        ("[2001:db8::1]", "2001:db8::1", None),
        ("[2001:db8::1]:5070", "2001:db8::1", 5070),
        ("under_score:0", "under_score", 0),
        ("h:65535", "h", 65535),
    ],
)
def test_hosts_and_ports(text: str, host: str, port: int | None) -> None:
    assert parse_host_port(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        "", ":5060", "h:", "h:x", "h:65536", "h:-1", "h:٣", "a b", "a;b", "a/b", "a@b", "[", "[]", "[abc]",
        "[::1", "[::1]5060", "[::1]:", "[::1]:x", "2001:db8::1", "h\nh", "[::1%eth0]", "a" * 301, " " * 301,
    ],
)  # fmt: skip
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(SipParseError) as caught:
        parse_host_port(text)
    assert caught.value.status == 400


def test_remembered_hosts_are_bounded() -> None:
    for number in range(KNOWN_HOST_PORTS + 10):
        parse_host_port(f"host-{number}")
        assert len(known_host_ports) <= KNOWN_HOST_PORTS
    assert known_host_ports["host-4096"] == ("host-4096", None)


@given(NEAR_MISSES)
def test_hosts_round_trip_or_are_refused(text: str) -> None:
    try:
        host, port = parse_host_port(text)
    except SipParseError:
        return
    again = format_host(host) + ("" if port is None else f":{port}")
    assert parse_host_port(again) == (host, port)


@given(NEAR_MISSES)
def test_parameters_round_trip_or_are_refused(text: str) -> None:
    try:
        params = parse_params(text)
    except SipParseError:
        return
    assert parse_params(format_params(params)[1:]) == params


@given(st.lists(st.text(alphabet="ab ", min_size=1).map(lambda text: f'"{text},"'), min_size=1))
def test_quoted_parts_survive_a_list(parts: list[str]) -> None:
    assert split_outside(", ".join(parts), ",") == parts

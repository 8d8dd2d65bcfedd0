"""Header values: Via, addresses, CSeq, numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip import headers
from gateway.sip.grammar import SipParseError
from gateway.sip.headers import NameAddr, Via, parse_cseq, parse_number

NEAR_MISSES = st.text(alphabet='SIP/2.0UDTC a1;,=<>"\\:@[]\t\r\n\0é', max_size=50)


@pytest.mark.parametrize(
    ("text", "via"),
    [
        ("SIP/2.0/UDP 192.0.2.1", Via("UDP", "192.0.2.1", None)),
        (
            "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport",
            Via("UDP", "192.0.2.1", 5060, (("branch", "z9hG4bK1"), ("rport", None))),
        ),
        ("SIP/2.0/TLS [2001:db8::1]:5061", Via("TLS", "2001:db8::1", 5061)),
        ("SIP/2.0/WSS host", Via("WSS", "host", None)),
    ],
)
def test_vias_round_trip(text: str, via: Via) -> None:
    assert Via.parse(text) == via
    assert str(via) == text


@pytest.mark.parametrize(
    "text",
    [
        "SIP / 2.0 / UDP first.example.com: 4000 ;ttl=16 ;maddr=192.0.2.9 ;branch=z9hG4bKa7c6",
        "sip/2.0/udp  first.example.com:4000;ttl=16;maddr=192.0.2.9;branch=z9hG4bKa7c6",
        "SIP/2.0/UDP\tfirst.example.com:4000;TTL=16;MAddr=192.0.2.9;Branch=z9hG4bKa7c6",
    ],
)
def test_a_via_is_the_same_however_it_is_spaced(text: str) -> None:
    """§20.42 has the first of these for an example."""
    params = (("ttl", "16"), ("maddr", "192.0.2.9"), ("branch", "z9hG4bKa7c6"))
    assert Via.parse(text) == Via("UDP", "first.example.com", 4000, params)


@pytest.mark.parametrize(
    "text",
    [
        "", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/2.0 host", "SIP/3.0/UDP host", "HTTP/2.0/UDP host",
        "UDP host", "SIP/2.0/U=P host", "SIP/2.0/UDP host;", "SIP/2.0/UDP host;;branch=x",
        "SIP/2.0/UDP host:x", "SIP/2.0/UDP a b", "SIP/2.0/UDP host;=x", 'SIP/2.0/UDP host;a="',
    ],
)  # fmt: skip
def test_what_is_no_via(text: str) -> None:
    with pytest.raises(SipParseError) as caught:
        Via.parse(text)
    assert caught.value.status == 400


def test_parameters_of_a_via() -> None:
    via = Via.parse("SIP/2.0/UDP host;rport;branch=b")
    assert (via.branch, via.param("rport"), via.param("received")) == ("b", "", None)
    assert Via.parse("SIP/2.0/UDP host").branch is None


@pytest.mark.parametrize(
    ("text", "via"),
    [
        ("SIP/2.0/UDP 192.0.2.15;;,;,,", Via("UDP", "192.0.2.15", None)),
        ("SIP/7.0/UDP host;branch=b", Via("UDP", "host", None, (("branch", "b"),))),
        ("SIP/2.0/TCP host:1;;branch=b;=x;lr", Via("TCP", "host", 1, (("branch", "b"), ("lr", None)))),
        ('SIP/2.0/UDP host;a="b;branch=c', Via("UDP", "host", None, (("branch", "c"),))),
    ],
)
def test_what_is_left_of_a_malformed_via(text: str, via: Via) -> None:
    with pytest.raises(SipParseError):
        Via.parse(text)
    assert Via.salvage(text) == via


@pytest.mark.parametrize("text", ["", ",", "SIP/2.0/UDP ;branch=b", "SIP/2.0/UDP a b", "host;branch=b"])
def test_a_via_without_its_sender_is_lost(text: str) -> None:
    with pytest.raises(SipParseError):
        Via.salvage(text)


@given(NEAR_MISSES.map(lambda text: f"SIP/2.0/UDP {text}") | NEAR_MISSES)
def test_vias_are_refused_or_stable(text: str) -> None:
    for read in (Via.parse, Via.salvage):
        try:
            via = read(text)
        except SipParseError as error:
            assert error.status == 400
        else:
            assert Via.parse(str(via)) == via


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("<sip:a@b>", NameAddr("", "sip:a@b")),
        ("<sip:a@b>;tag=1", NameAddr("", "sip:a@b", (("tag", "1"),))),
        ("<sip:a@b>;tag=1;x", NameAddr("", "sip:a@b", (("tag", "1"), ("x", None)))),
        ("<sip:a@b;lr>;x", NameAddr("", "sip:a@b;lr", (("x", None),))),
        ('"Joe" <sip:a@b>', NameAddr("Joe", "sip:a@b")),
        (r'"J \"R\" \\" <sip:a@b>', NameAddr('J "R" \\', "sip:a@b")),
        ('"a, b; <c>" <tel:+1415>;x="1;2"', NameAddr("a, b; <c>", "tel:+1415", (("x", '"1;2"'),))),
    ],
)
def test_addresses_round_trip(text: str, address: NameAddr) -> None:
    assert NameAddr.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("sip:a@b;tag=1", NameAddr("", "sip:a@b", (("tag", "1"),))),
        (" sip:a@b ; tag = 1 ", NameAddr("", "sip:a@b", (("tag", "1"),))),
        ("Joe R <sip:a@b> ; Tag=1", NameAddr("Joe R", "sip:a@b", (("tag", "1"),))),
        ("Joe<sip:a@b>", NameAddr("Joe", "sip:a@b")),
        ('"Joe"<sip:a@b>', NameAddr("Joe", "sip:a@b")),
        ('"" <sip:a@b>', NameAddr("", "sip:a@b")),
        ("< sip:a@b >", NameAddr("", "sip:a@b")),
        ("<sip:a@b>;tag= 1", NameAddr("", "sip:a@b", (("tag", "1"),))),
        ("<sips:a@b>", NameAddr("", "sips:a@b")),
    ],
)
def test_addresses_in_other_words(text: str, address: NameAddr) -> None:
    assert NameAddr.parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "", "a@b", "<>", "<a@b>", "<sip:a@b", "sip:a@b>", "<sip:a b@c>", "<sip:a\tb@c>;tag=1", "<sip:a<b>",
        "<sip:a@b>x", "<sip:a@b>;", "<sip:a@b>;;tag=1", "<sip:a@b>;=1", '"Joe <sip:a@b>', '"Joe" sip:a@b',
        '"Joe\\', "a, b <sip:a@b>", 'a"b" <sip:a@b>', "sip:a@b?x=y", "sip:a, sip:b", "*", "sip:a@b;",
        "<sip:a> <sip:b>",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(SipParseError) as caught:
        NameAddr.parse(text)
    assert caught.value.status == 400


def test_tags() -> None:
    assert NameAddr.parse("<sip:a@b>;tag=x").tag == "x"
    assert NameAddr.parse("<sip:a@b;tag=inside>").tag is None


@given(NEAR_MISSES | NEAR_MISSES.map(lambda text: f"<sip:{text}") | NEAR_MISSES.map(lambda text: f'"{text}'))
def test_addresses_are_refused_or_stable(text: str) -> None:
    try:
        address = NameAddr.parse(text)
    except SipParseError as error:
        assert error.status == 400
    else:
        assert NameAddr.parse(str(address)) == address
        assert not any(character in address.uri for character in " \t<>")


@given(st.text(alphabet='ab"\\<>;, é', max_size=12))
def test_any_display_name_can_be_quoted(display: str) -> None:
    address = NameAddr(display, "sip:a@b", (("tag", "1"),))
    assert NameAddr.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "cseq"),
    [
        ("1 INVITE", (1, "INVITE")),
        ("0009   INVITE", (9, "INVITE")),
        ("0 x-y", (0, "x-y")),
        ("2147483647 BYE", (2147483647, "BYE")),
        (" 1 \tACK ", (1, "ACK")),
    ],
)
def test_cseqs(text: str, cseq: tuple[int, str]) -> None:
    assert parse_cseq(text) == cseq


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "INVITE",
        "1INVITE",
        "-1 INVITE",
        "2147483648 INVITE",
        "٣ INVITE",
        "1 IN VITE",
        "1 é",
        "9" * 50,
    ],
)
def test_what_is_no_cseq(text: str) -> None:
    with pytest.raises(SipParseError):
        parse_cseq(text)


@given(st.text(alphabet="0123456789 INVTE-٣\t", max_size=20))
def test_cseqs_are_refused_or_in_range(text: str) -> None:
    try:
        number, method = parse_cseq(text)
    except SipParseError:
        return
    assert 0 <= number < 2**31
    assert parse_cseq(f"{number} {method}") == (number, method)


def test_numbers_name_their_header() -> None:
    assert parse_number("Max-Forwards", " 070 ", 255) == 70
    for text in ("", "x", "-1", "256", "9" * 11, "٣"):
        with pytest.raises(SipParseError, match="Bad Max-Forwards"):
            parse_number("Max-Forwards", text, 255)


@pytest.mark.parametrize(
    ("parse", "text", "longer", "table", "most"),
    [
        (NameAddr.parse, "<sip:{}@example.com>", "<sip:{}@example.com>", headers._addresses, 4096),
        (Via.parse, "SIP/2.0/UDP host-{}", "SIP/2.0/UDP {}", headers._hops, 1024),
        (parse_cseq, "{} INVITE", "1 {}", headers._cseqs, 4096),
    ],
)
def test_what_is_remembered_is_bounded(
    parse: Callable[[str], object], text: str, longer: str, table: dict[str, object], most: int
) -> None:
    for number in range(most + 10):
        assert parse(text.format(number)) == parse(text.format(number))
        assert len(table) <= most
    parse(long := longer.format("x" * 257))
    assert long not in table

"""URIs: what carriers and agents write, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.uri import OtherUri, SipUri, TelUri, UriError, parse_uri


def sip(text: str) -> SipUri:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return uri


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:192.0.2.1", SipUri("sip", None, None, "192.0.2.1")),
        ("sip:+14155550100@b:5060", SipUri("sip", "+14155550100", None, "b", 5060)),
        ("sips:a@b", SipUri("sips", "a", None, "b")),
        ("sip:a:secret@b", SipUri("sip", "a", "secret", "b")),
        ("sip:a:@b", SipUri("sip", "a", "", "b")),
        ("sip:a@b;x=y;lr", SipUri("sip", "a", None, "b", None, (("x", "y"), ("lr", None)))),
        ("sip:a@b?Route=%3Csip:x%3E&b=", SipUri("sip", "a", None, "b", headers="Route=%3Csip:x%3E&b=")),
        ("sip:a@[2001:db8::1]:5070;lr", SipUri("sip", "a", None, "2001:db8::1", 5070, (("lr", None),))),
        ("sip:a;b=c@d", SipUri("sip", "a;b=c", None, "d")),
        ("sip:a?b@c", SipUri("sip", "a?b", None, "c")),
        ("tel:+1-415-555-0100", TelUri("+1-415-555-0100")),
        ("tel:0100;phone-context=+1415555", TelUri("0100", (("phone-context", "+1415555"),))),
        ("mailto:a@b", OtherUri("mailto", "a@b")),
    ],
)
def test_uris_round_trip(text: str, uri: SipUri | TelUri | OtherUri) -> None:
    assert parse_uri(text) == uri
    assert str(uri) == text


def test_schemes_and_parameter_names_are_read_in_any_case() -> None:
    assert str(parse_uri("SIP:Alice@Example.com;Transport=TCP")) == "sip:Alice@Example.com;transport=TCP"
    assert parse_uri("TEL:+14155550100") == TelUri("+14155550100")


@pytest.mark.parametrize(
    "text",
    [
        "", "sip", "sip:", ":a@b", "1sip:a@b", "sip:@b", "sip:a@", "sip:a@b@c", "sip:a b@c", "sip:a@b c",
        "sip:a@b:x", "sip:a@b:99999", "sip:a@b;", "sip:a@b;;lr", "sip:2001:db8::1", "sip:a@[::1",
        "sip:a@b\r\nX: y", 'sip:"a"@b', "sip:<a>@b", "tel:", "tel:;x", "tel:1;", "+14155550100",
    ],
)  # fmt: skip
def test_what_is_no_uri(text: str) -> None:
    with pytest.raises(UriError) as caught:
        parse_uri(text)
    assert caught.value.status == 400


def test_users_are_compared_without_escapes() -> None:
    assert sip("sip:%2B1415@a").user_unescaped == "+1415"
    assert sip("sip:a").user_unescaped == ""
    # What is no escape stays as it is.
    assert sip("sip:100%@a").user_unescaped == "100%"


def test_parameters_by_name() -> None:
    uri = sip("sip:a;lr;maddr=192.0.2.1")
    assert uri.param("lr") == ""
    assert uri.param("maddr") == "192.0.2.1"
    assert uri.param("transport") is None


@given(st.text(alphabet='sipstel:@;?=%.,[]<>" \r\nab1+-', max_size=40))
def test_parsing_raises_only_its_own_error_and_is_stable(text: str) -> None:
    for candidate in (text, f"sip:{text}", f"tel:{text}"):
        try:
            uri = parse_uri(candidate)
        except UriError as error:
            assert error.status == 400
        else:
            assert parse_uri(str(uri)) == uri


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)


@given(
    st.builds(
        SipUri,
        st.sampled_from(["sip", "sips"]),
        st.from_regex(r"[A-Za-z0-9+%._;/?-]{1,12}", fullmatch=True),
        st.none() | st.from_regex(r"[a-z0-9:&=]{0,6}", fullmatch=True),
        NAMES | st.ip_addresses().map(str),
        st.none() | st.integers(0, 65535),
        st.lists(st.tuples(NAMES, st.none() | NAMES)).map(tuple),
        st.from_regex(r"([a-z]+=[a-z%0-9]*)?", fullmatch=True),
    )
)
def test_every_value_can_be_written_and_read(uri: SipUri) -> None:
    assert parse_uri(str(uri)) == uri

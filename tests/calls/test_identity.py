"""Who calls whom, out of the INVITEs that carriers send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.identity import caller_number, dialled_number, max_forwards, passed_headers
from gateway.sip.message import Headers, Request


def invite(uri: str = "sip:+14155550100@voice.example.com", *headers: tuple[str, str]) -> Request:
    return Request("INVITE", uri, Headers(headers))


@pytest.mark.parametrize(
    ("uri", "number"),
    [
        ("sip:+14155550100@voice.example.com", "+14155550100"),
        ("sip:+14155550100@voice.example.com:5060;user=phone", "+14155550100"),
        ("sip:+14155550100;npdi@voice.example.com", "+14155550100"),
        ("sip:14155550100@voice.example.com;transport=tcp", "14155550100"),
        ("sip:%2B14155550100@voice.example.com", "+14155550100"),
        ("tel:+1-415-555-0100;phone-context=x", "+1-415-555-0100"),
        ("sip:voice.example.com", ""),
        ("urn:service:sos", ""),
        ("sip:a@b@c", ""),
    ],
)
def test_the_dialled_number_is_in_the_request_uri(uri: str, number: str):
    assert dialled_number(invite(uri)) == number


@pytest.mark.parametrize(
    ("from_", "number"),
    [
        ('"Alice" <sip:+14155550123@203.0.113.7:5060>;tag=1', "+14155550123"),
        ("<tel:+14155550123>;tag=1", "+14155550123"),
        ("<sip:anonymous@anonymous.invalid>;tag=1", "anonymous"),
        ("<sip:203.0.113.7>;tag=1", ""),
    ],
)
def test_the_caller_is_in_from(from_: str, number: str):
    assert caller_number(invite("sip:x@y", ("From", from_))) == number


@given(st.text(max_size=40))
def test_whatever_is_in_the_request_uri_nothing_is_raised(text: str):
    assert isinstance(dialled_number(invite(text)), str)


def test_only_the_carriers_own_headers_are_passed_whatever_their_case():
    request = invite(
        "sip:x@y",
        ("X-Twilio-CallSid", "CA1"),
        ("x-twilio-other", "AC1"),
        ("X-Secret", "no"),
        ("Subject", "no"),
    )
    assert passed_headers(request, ("X-Twilio-",)) == [
        ("X-Twilio-CallSid", "CA1"),
        ("x-twilio-other", "AC1"),
    ]
    assert passed_headers(request, ()) == []


@pytest.mark.parametrize(
    ("headers", "hops"), [((), 70), ((("Max-Forwards", "12"),), 12), ((("Max-Forwards", "many"),), 70)]
)
def test_hops_left(headers, hops: int):
    assert max_forwards(invite("sip:x@y", *headers)) == hops

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.endpoint import random_tokens
from gateway.workers.marks import call_id_of, marked, name_finder, slot_of
from gateway.workers.slots import MAX_SLOTS

TOKEN = "0123456789abcdef"


def request(method: str = "BYE", to: str = "<sip:us>", *, more: str = "", body: str = "") -> bytes:
    return (
        f"{method} sip:us SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKpeer\r\n{more}"
        f"From: <sip:them>;tag=theirs\r\nTo: {to}\r\nCall-ID: abc@192.0.2.1 \r\nCSeq: 1 {method}\r\n\r\n{body}"
    ).encode()


def response(via: str) -> bytes:
    return f"SIP/2.0 200 OK\r\n{via}\r\nTo: <sip:us>;tag={TOKEN}w09\r\nCall-ID: abc\r\n\r\n".encode()


@pytest.mark.parametrize(
    "to",
    [
        f"<sip:us>;tag={TOKEN}w1f",
        f'"Us; tag=no" <sip:us;tag=no> ; Tag = {TOKEN}w1f',
        f"<sip:us>;x=y;tag={TOKEN}w1f;z",
    ],
)
def test_a_request_inside_a_dialog_is_its_makers(to: str) -> None:
    assert slot_of(request(to=to)) == 0x1F


@pytest.mark.parametrize(
    "via", ["Via: SIP/2.0/UDP 198.51.100.1:5101", "v:SIP/2.0/UDP 198.51.100.1;rport=5101"]
)
def test_a_response_goes_by_its_topmost_branch(via: str) -> None:
    assert slot_of(response(f"{via};branch=z9hG4bK{TOKEN}w02;received=192.0.2.1")) == 2


@pytest.mark.parametrize(
    "data",
    [
        request(),
        request(to="<sip:us>;tag=other"),
        request(to=f"<sip:us>;tag={TOKEN}w1"),
        request(to=f"<sip:us>;tag={TOKEN}w1f2"),
        request(to=f"<sip:us>;tag={TOKEN}w00"),
        request(to=f"<sip:us>;tag={TOKEN}w{MAX_SLOTS + 1:02x}"),
        request(body=f"\nTo: <sip:us>;tag={TOKEN}w01"),
        response("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKother"),
        b"",
        b"\r\n\r\n",
    ],
)
def test_what_has_no_mark_of_ours_is_nobodys(data: bytes) -> None:
    assert slot_of(data) is None


@pytest.mark.parametrize(("name", "slack"), [("Call-ID", ""), ("i", " "), ("CALL-id", "\t")])
def test_the_call_id_is_found_under_each_of_its_names(name: str, slack: str) -> None:
    data = f"INVITE sip:us SIP/2.0\r\n{name}{slack}:{slack}a b@c{slack}\r\n\r\ni: no\r\n".encode()
    assert call_id_of(data) == b"a b@c"


def test_without_a_call_id_there_is_none() -> None:
    assert call_id_of(b"INVITE sip:us SIP/2.0\r\n\r\nCall-ID: of the body\r\n") == b""


def test_a_call_is_named_by_the_carriers_header_where_it_has_one() -> None:
    name_of = name_finder(["X-Twilio-CallSid", "X-Telnyx-Session-ID", "X-Twilio-CallSid"])
    invite = b"INVITE sip:us SIP/2.0\r\nCall-ID: a\r\n%b\r\nbody: X-Twilio-CallSid: no\r\n"
    assert name_of(invite % b"x-twilio-callsid : CA1 \r\n") == b"CA1"
    assert name_of(invite % b"X-Telnyx-Session-ID:s\r\n") == b"s"
    assert name_of(invite % b"X-Telnyx-Session-IDs: s\r\n") == b"a"
    assert name_of(invite % b"") == b"a"
    assert name_finder([])(invite % b"X-Twilio-CallSid: CA1\r\n") == b"a"
    assert name_finder(["X.Y"])(invite % b"XaY: CA1\r\n") == b"a"


@given(slot=st.integers(1, MAX_SLOTS))
def test_a_tag_made_for_a_slot_leads_back_to_it(slot: int) -> None:
    token = marked(random_tokens(), slot)()
    assert slot_of(request(to=f"<sip:us>;tag={token}")) == slot
    assert int(token[:8], 16) >= 0


@given(data=st.binary(max_size=400))
def test_any_bytes_are_looked_at_without_complaint(data: bytes) -> None:
    slot_of(data)
    slot_of(b"SIP/2.0 " + data)
    call_id_of(data)
    name_finder(["X-Name"])(data)

"""Whole messages: requests and responses from bytes and to bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.grammar import LocalProtocolError
from gateway.sip.header_names import CANONICAL, CANONICAL_NAMES, COMPACT, canonical_name
from gateway.sip.headers import NameAddr
from gateway.sip.message import (
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    MAX_HEADER_COUNT,
    Headers,
    Message,
    Request,
    Response,
    SipParseError,
    parse_message,
)
from gateway.sip.reasons import reason_phrase

LINES = (
    "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1",
    "From: <sip:+14155550111@192.0.2.1>;tag=a",
    "To: <sip:+14155550100@192.0.2.2>",
    "Call-ID: 1@192.0.2.1",
    "CSeq: 1 INVITE",
)


def raw(
    *lines: str, start: str = "INVITE sip:+14155550100@192.0.2.2 SIP/2.0", body: str = "", without: str = ""
) -> bytes:
    """A message of the five headers and some more; a line of a header that is there takes its place."""
    given_names = {line.partition(":")[0] for line in lines}
    kept = [line for line in LINES if (name := line.partition(":")[0]) not in given_names and name != without]
    return "\r\n".join([start, *kept, *lines, "", body]).encode()


def request(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def fault(data: bytes) -> SipParseError:
    with pytest.raises(SipParseError) as caught:
        parse_message(data)
    return caught.value


def test_a_request() -> None:
    invite = request(raw("Max-Forwards: 70", "Contact: <sip:a@192.0.2.1>", "Content-Length: 4", body="body"))
    assert (invite.method, invite.uri, invite.body) == ("INVITE", "sip:+14155550100@192.0.2.2", b"body")
    assert (invite.call_id, invite.cseq, invite.cseq_method) == ("1@192.0.2.1", 1, "INVITE")
    assert (invite.from_tag, invite.to_tag, invite.branch) == ("a", None, "z9hG4bK1")
    assert (invite.max_forwards, invite.contact) == (70, NameAddr("", "sip:a@192.0.2.1"))


def test_a_response() -> None:
    response = parse_message(raw(start="SIP/2.0 486 Busy: try later"))
    assert isinstance(response, Response)
    assert (response.status, response.reason) == (486, "Busy: try later")
    assert response.cseq_method == "INVITE"


def test_compact_forms_without_a_space() -> None:
    """As Telnyx writes them."""
    data = (
        "INVITE sip:a@b SIP/2.0\r\nv:SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK1\r\nf:<sip:x@b>;tag=a\r\n"
        "t:sip:a@b\r\ni:1\r\nCSeq:1 INVITE\r\nm:<sip:x@b>\r\nc:application/sdp\r\nl:0\r\n\r\n"
    )
    invite = request(data.encode())
    assert [name for name, _ in invite.headers] == [
        "Via", "From", "To", "Call-ID", "CSeq", "Contact", "Content-Type", "Content-Length",
    ]  # fmt: skip
    assert (invite.via.host, invite.from_tag, invite.call_id) == ("2001:db8::1", "a", "1")
    assert invite.headers.get("Content-Type") == "application/sdp"


@pytest.mark.parametrize("name", ["call-id", "CALL-ID", "cAlL-iD", "i", "I", "Call-ID ", "i\t"])
def test_names_are_read_in_any_case(name: str) -> None:
    assert request(raw(f"{name}: x", without="Call-ID")).call_id == "x"


def test_every_compact_form_has_its_name() -> None:
    assert len(COMPACT) == 20
    for short, name in COMPACT.items():
        assert canonical_name(short) == canonical_name(short.upper()) == canonical_name(name.lower()) == name
    assert set(CANONICAL.values()) == CANONICAL_NAMES
    assert canonical_name("X-Unheard-Of") == "X-Unheard-Of"


def test_unknown_headers_keep_their_spelling() -> None:
    headers = request(raw("x-Agent-THING: 1", "X-aGENT-thing:2")).headers
    assert headers.items()[-2:] == [("x-Agent-THING", "1"), ("X-aGENT-thing", "2")]
    assert headers.get("X-Agent-Thing") == "1"
    assert headers.get_all("x-agent-thing") == ["1", "2"]
    assert "X-AGENT-THING" in headers
    assert "X-Other" not in headers
    assert len(headers) == len(LINES) + 2


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        (("Subject: a", " b"), "a b"),
        (("Subject:  a  ", "\t  b", " c"), "a   b c"),
        (("Subject:", " a"), "a"),
        (("Subject: a", " To: b"), "a To: b"),
        (("s:", "\t", " a"), "a"),
    ],
)
def test_folded_lines(lines: tuple[str, ...], value: str) -> None:
    subject = request(raw(*lines)).headers.get("Subject")
    assert subject is not None
    assert subject.split() == value.split()


def test_a_folded_header_can_be_looked_up_like_any_other() -> None:
    invite = request(raw("From: <sip:a@b>", " ;tag=folded", without="From"))
    assert invite.from_tag == "folded"
    assert invite.headers.get("From") == "<sip:a@b> ;tag=folded"


def test_several_values_in_one_line() -> None:
    invite = request(
        raw(
            "Via: SIP/2.0/UDP one;branch=1, SIP/2.0/TCP two;branch=2",
            "v: SIP/2.0/UDP three",
            'Record-Route: "x, y" <sip:a,b@c;lr>, <sip:d;lr>',
            "Record-Route: <sip:e;lr>",
            'Contact: "Joe, A" <sip:a@b>;q=1, <sip:c@d>',
        )
    )
    assert [via.host for via in invite.vias] == ["one", "two", "three"]
    assert invite.via.host == "one"
    assert invite.headers.values("Record-Route") == ['"x, y" <sip:a,b@c;lr>', "<sip:d;lr>", "<sip:e;lr>"]
    assert invite.contact is not None
    assert invite.contact.display == "Joe, A"


def test_a_contact_that_is_none() -> None:
    assert request(raw()).contact is None
    assert request(raw("Contact: *")).contact is None


@pytest.mark.parametrize("name", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_the_five_headers_must_be_there(name: str) -> None:
    error = fault(raw(without=name))
    assert (error.status, error.reason) == (400, f"Missing {name} header")
    # A response needs a way back, and to be matched; a Call-ID is not needed for either (§17.1.3).
    assert (error.request is not None) == (name == "Call-ID")


@pytest.mark.parametrize("name", ["From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length"])
def test_a_second_line_of_what_may_stand_once_is_refused(name: str) -> None:
    value = {"Max-Forwards": "1", "Content-Length": "0"}.get(name)
    line = f"{name}: {value}" if value else next(line for line in LINES if line.startswith(name))
    error = fault(raw(line, f"{name.lower()}:{line.partition(':')[2]}"))
    assert (error.status, error.reason) == (400, f"More than one {name} header")
    assert error.request is not None


@pytest.mark.parametrize(
    ("start", "status"),
    [
        ("INVITE sip:a@b SIP/3.0", 505),
        ("INVITE sip:a@b SIP/7.0", 505),
        ("INVITE sip:a@b HTTP/1.1", 400),
        ("INVITE sip:a@b", 400),
        ("INVITE", 400),
        ("", 400),
        ("INVITE  SIP/2.0", 400),
        ("INVITE sip:a b SIP/2.0", 400),
        ("INVITE\tsip:a@b\tSIP/2.0", 400),
        ("IN(VITE sip:a@b SIP/2.0", 400),
        ("SIP/2.0 99 Low", 400),
        ("SIP/2.0 700 High", 400),
        ("SIP/2.0 20 Short", 400),
        ("SIP/2.0 2000 Long", 400),
        ("SIP/2.0 ٢٠٠ OK", 400),
        ("SIP/2.0", 400),
        ("SIP/3.0 200 OK", 505),
    ],
)
def test_bad_start_lines(start: str, status: int) -> None:
    error = fault(raw(start=start))
    assert error.status == status
    if start.startswith("SIP/"):
        assert error.request is None


def test_the_version_is_read_in_any_case() -> None:
    assert request(raw(start="INVITE sip:a@b sip/2.0")).uri == "sip:a@b"
    assert isinstance(parse_message(raw(start="sip/2.0 200 OK")), Response)


def test_the_methods_must_agree() -> None:
    assert fault(raw("CSeq: 1 BYE")).status == 400


def test_an_ack_is_never_answered() -> None:
    error = fault(raw("CSeq: 1 ACK", "To: nonsense", start="ACK sip:a@b SIP/2.0"))
    assert (error.status, error.request) == (400, None)


@pytest.mark.parametrize("line", ["nonsense", ": x", "a b: c", "é: x", " : x"])
def test_lines_that_are_no_headers(line: str) -> None:
    data = raw().replace(b"\r\n", f"\r\n{line}\r\n".encode(), 1)
    assert fault(data).reason == "Bad header line"


@pytest.mark.parametrize("text", ["a\nX: y", "a\rX: y", "a\n\rb", "\r"])
def test_stray_line_ends_are_refused_and_never_repeated(text: str) -> None:
    for data in (raw(f"From: <sip:a@b>;tag={text}"), raw(start=f"INVITE sip:{text} SIP/2.0")):
        error = fault(data)
        assert (error.status, error.request) == (400, None)


def test_bodies() -> None:
    assert request(raw(body="as long as the datagram")).body == b"as long as the datagram"
    assert request(raw("Content-Length: 4", body="body and more")).body == b"body"
    assert request(raw("Content-Length: 0", body="none")).body == b""
    assert request(raw("Content-Length: 0004", body="body")).body == b"body"
    assert request(b"\r\n\r\n" + raw(body="after keep-alives")).body == b"after keep-alives"
    binary = raw("Content-Length: 6") + b"\xff\0\r\n\r\n"
    assert request(binary).body == b"\xff\0\r\n\r\n"


@pytest.mark.parametrize("length", ["5", "-1", "x", "", "4 4", "4,4", "9" * 12])
def test_bad_content_lengths(length: str) -> None:
    error = fault(raw(f"Content-Length: {length}", body="body"))
    assert error.status == 400
    assert error.request is not None


def test_caps() -> None:
    assert fault(raw("X: " + "x" * MAX_HEADER_BYTES)).reason == "Headers too long"
    assert fault(raw(*["X: y"] * MAX_HEADER_COUNT)).reason == "Too many headers"
    assert fault(raw(body="x" * (MAX_BODY_BYTES + 1))).status == 413
    assert len(request(raw(body="x" * MAX_BODY_BYTES)).body) == MAX_BODY_BYTES


def test_headers_must_end() -> None:
    error = fault(raw()[:-2])
    assert (error.status, error.reason) == (400, "Headers do not end")
    assert error.request is not None


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\n\r\n", b"\0", b"\xff" * 40, b"a" * 40, b" \r\n\r\n"])
def test_what_is_no_message_at_all(data: bytes) -> None:
    error = fault(data)
    assert (error.status, error.request) == (400, None)


def test_bytes_that_are_no_text_survive() -> None:
    data = raw("Subject: SUB").replace(b"SUB", b"\xffcaf\xc3\xa9")
    subject = request(data).headers.get("Subject")
    assert subject == "\udcffcafé"
    assert b"\r\nSubject: \xffcaf\xc3\xa9\r\n" in request(data).to_bytes()


@pytest.mark.parametrize("text", ["x\r\nRoute: y", "x\ny", "x\ry", "x\0y"])
def test_nothing_can_be_injected_when_writing(text: str) -> None:
    headers = Headers([("Via", "SIP/2.0/UDP a")])
    for message in (
        Request("INVITE", f"sip:{text}", headers),
        Response(200, text, headers),
        Request("INVITE", "sip:a", Headers([("Subject", text)])),
        Request("INVITE", "sip:a", Headers([(text, "Subject")])),
    ):
        with pytest.raises(LocalProtocolError):
            message.to_bytes()


def test_the_length_is_always_that_of_the_body() -> None:
    assert (
        b"\r\nContent-Length: 3\r\n\r\nabc"
        in Request("A", "sip:a", Headers([("l", "99")]), b"abc").to_bytes()
    )


def test_names_for_status_codes() -> None:
    assert reason_phrase(486) == "Busy Here"
    # §8.1.3.2: an unknown code counts as the first of its class.
    assert reason_phrase(499) == "Bad Request"
    assert reason_phrase(799) == "Unknown"


def same(one: Message, other: Message) -> bool:
    lines = [[line for line in message.headers if line[0] != "Content-Length"] for message in (one, other)]
    return lines[0] == lines[1] and one.body == other.body


VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20).map(
    lambda text: text.strip(" \t")
)


@given(
    st.lists(st.tuples(st.sampled_from(["Subject", "X-a", "Record-Route", "Supported"]), VALUES)),
    st.binary(max_size=60),
)
def test_any_message_survives_writing_and_reading(lines: list[tuple[str, str]], body: bytes) -> None:
    lines = [(name, value.replace("\0", "")) for name, value in lines]
    five = [(name, value) for name, _, value in (line.partition(": ") for line in LINES)]
    for message in (
        Request("INVITE", "sip:a@b", Headers([*five, *lines]), body),
        Response(200, "OK", Headers([*lines, *five]), body),
    ):
        again = parse_message(message.to_bytes())
        assert same(again, message)
        assert again.to_bytes() == message.to_bytes()


FRAGMENTS = st.sampled_from(
    [b"INVITE", b" ", b"sip:a@b", b"SIP/2.0", b"\r\n", b"Via", b"v", b":", b"SIP/2.0/UDP a", b";branch=",
     b"From", b"<", b">", b'"', b"\\", b",", b";", b"=", b"To", b"i", b"CSeq", b"1", b"l", b"\xff", b"\0"]
)  # fmt: skip


@given(st.binary(max_size=300) | st.lists(FRAGMENTS, max_size=60).map(b"".join))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        message = parse_message(data)
    except SipParseError as error:
        assert error.status in {400, 413, 505}
    else:
        assert parse_message(message.to_bytes()).call_id == message.call_id


@given(st.data())
def test_any_damaged_message_is_read_or_refused(data: st.DataObject) -> None:
    whole = raw('Contact: "a, b" <sip:a@b>;q=1', "Max-Forwards: 70", "Content-Length: 4", body="body")
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 8)))
    damaged = whole[:start] + b"".join(data.draw(st.lists(FRAGMENTS, max_size=4))) + whole[end:]
    try:
        message = parse_message(damaged)
    except SipParseError as error:
        broken = error.request
        if isinstance(broken, Request):
            assert broken.via.host
            assert (
                "\n"
                not in f"{broken.headers.get('Via')}{broken.headers.get('From')}{broken.headers.get('To')}"
            )
    else:
        assert message.via.host
        assert message.from_.uri
        assert message.cseq >= 0

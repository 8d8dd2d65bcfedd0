"""The 49 messages of RFC 4475: what each must be read as, or refused with.

Where the RFC leaves a choice, the comment beside the message says which one was made.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.sip.message import Request, Response, SipParseError, parse_message
from gateway.sip.request_checks import check_request
from gateway.sip.sdp import SessionDescription
from gateway.sip.uri import SipUri, UriError, parse_uri

MESSAGES = Path(__file__).parents[1] / "data" / "torture" / "rfc4475"

# Name to method; all of these must be read without complaint.
REQUESTS = {
    "badaspec": "OPTIONS",  # spaces inside of angle brackets are ignored: the liberal choice of §3.1.2.14
    "badbranch": "OPTIONS",  # a branch of nothing but the cookie identifies as in RFC 2543 (§3.2.1)
    "baddate": "INVITE",  # nobody here reads Date
    "bext01": "OPTIONS",
    "cparam01": "REGISTER",
    "cparam02": "REGISTER",
    "dblreq": "REGISTER",
    "esc01": "INVITE",
    "esc02": "RE%47IST%45R",
    "escnull": "REGISTER",
    "escruri": "INVITE",  # headers in the Request-URI are ignored: the liberal choice of §3.1.2.11
    "intmeth": "!interesting-Method0123456789_*+`.%indeed'~",
    "inv2543": "INVITE",
    "invut": "INVITE",
    "longreq": "INVITE",
    "lwsdisp": "OPTIONS",
    "mpart01": "MESSAGE",
    "novelsc": "OPTIONS",
    "regaut01": "REGISTER",
    "regbadct": "REGISTER",
    "regescrt": "REGISTER",
    "sdp01": "INVITE",
    "semiuri": "OPTIONS",
    "transports": "OPTIONS",
    "unkscm": "OPTIONS",
    "unksm2": "REGISTER",
    "wsinv": "INVITE",
    "zeromf": "OPTIONS",
}

RESPONSES = {"bcast": 200, "noreason": 100, "unreason": 200}

REFUSED = {
    "baddn": 400,  # a comma in a name without quotes
    "badinv01": 400,
    "badvers": 505,
    "clerr": 400,
    "ltgtruri": 400,
    "lwsruri": 400,
    "lwsstart": 400,
    "mcl01": 400,
    "mismatch01": 400,
    "mismatch02": 400,  # or 501
    "multi01": 400,
    "ncl": 400,
    "quotbal": 400,
    "scalar02": 400,
    "trws": 400,
}
"""Refused with an answer."""

DROPPED = {
    "bigcode",
    "scalarlg",
    "insuf",  # without From and To there is no response that its sender could read
}
"""Malformed, and not answered: responses never are."""

CHECKED = {
    "bext01": 420,
    "esc02": 501,
    "intmeth": 501,
    "inv2543": 400,  # no Contact: a call could not be kept up with its caller
    "invut": 415,
    "mpart01": 405,
    "novelsc": 416,
    "unkscm": 416,
    "zeromf": 483,
}
"""Read, and refused for what they ask."""


def read(name: str) -> bytes:
    return (MESSAGES / f"{name}.dat").read_bytes()


def accepted(name: str) -> Request:
    message = parse_message(read(name))
    assert isinstance(message, Request)
    return message


def test_every_message_has_its_verdict() -> None:
    verdicts = [*REQUESTS, *RESPONSES, *REFUSED, *DROPPED]
    assert sorted(verdicts) == sorted(path.stem for path in MESSAGES.glob("*.dat"))


@pytest.mark.parametrize(("name", "method"), REQUESTS.items())
def test_a_request_is_read(name: str, method: str) -> None:
    request = accepted(name)
    assert request.method == request.cseq_method == method
    assert request.via.host
    assert request.from_.uri
    assert request.to.uri
    assert request.call_id


@pytest.mark.parametrize(("name", "status"), RESPONSES.items())
def test_a_response_is_read(name: str, status: int) -> None:
    response = parse_message(read(name))
    assert isinstance(response, Response)
    assert response.status == status


@pytest.mark.parametrize(("name", "status"), REFUSED.items())
def test_a_malformed_request_is_answered(name: str, status: int) -> None:
    with pytest.raises(SipParseError) as caught:
        parse_message(read(name))
    assert caught.value.status == status
    request = caught.value.request
    assert isinstance(request, Request)
    assert request.via.host.startswith(("192.0.2.", "c.example.com", "host"))


@pytest.mark.parametrize("name", sorted(DROPPED))
def test_what_cannot_be_answered_is_not(name: str) -> None:
    with pytest.raises(SipParseError) as caught:
        parse_message(read(name))
    assert caught.value.status == 400
    assert caught.value.request is None


@pytest.mark.parametrize(("name", "status"), CHECKED.items())
def test_what_a_request_asks_is_refused(name: str, status: int) -> None:
    refusal = check_request(accepted(name), in_dialog=False)
    assert refusal is not None
    assert refusal.status == status


def test_wsinv_folds_spaces_and_compact_forms() -> None:
    request = accepted("wsinv")
    assert request.to_tag == "1918181833n"
    assert request.from_.display == 'J Rosenberg \\"'
    assert request.from_tag == "98asjd8"
    assert request.max_forwards == 68
    assert request.cseq == 9
    assert [(via.transport, via.host, via.branch) for via in request.vias] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    assert request.headers.get("Subject") == ""
    assert request.headers.get("NewFangledHeader") == "newfangled value continued newfangled value"
    assert request.headers.get("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    contact = request.contact
    assert contact is not None
    assert contact.display == 'Quoted string ""'
    assert contact.params == (("newparam", "newvalue"), ("secondparam", None), ("q", "0.33"))
    assert len(request.body) == 150


def test_intmeth_unusual_characters() -> None:
    request = accepted("intmeth")
    assert request.to.display == "BEL:\a NUL:\0 DEL:\x7f"
    assert request.from_.display == "token1~` token2'+_ token3*%!.-"
    assert request.from_tag == "_token~1'+`*%!-."
    assert request.from_.param("fromparam''~+*_!.-%") == '"работающий"'
    assert request.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert request.headers.get("extensionHeader-!.%*+_`'~") == "\ufeff大停電"
    uri = parse_uri(request.uri)
    assert isinstance(uri, SipUri)
    assert uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert str(uri) == request.uri


def test_escapes_stay_until_somebody_needs_the_user() -> None:
    uri = parse_uri(accepted("esc01").uri)
    assert isinstance(uri, SipUri)
    assert (uri.user, uri.host) == ("sips%3Auser%40example.com", "example.net")
    assert uri.user_unescaped == "sips:user@example.com"
    null = parse_uri(accepted("escnull").to.uri)
    assert isinstance(null, SipUri)
    assert null.user_unescaped == "null-\0-null"
    # Escapes in a method or a header's name are no escapes (§3.1.1.5).
    request = accepted("esc02")
    assert request.headers.get("C%6Fntact") == "<sip:alias2@host2.example.com>"
    assert len(request.headers.get_all("Contact")) == 2


def test_semiuri_the_semicolon_belongs_to_the_user() -> None:
    uri = parse_uri(accepted("semiuri").uri)
    assert isinstance(uri, SipUri)
    assert uri.user_unescaped == "user;par=u@example.net"
    assert (uri.host, uri.params) == ("example.com", ())


def test_cparam_parameters_belong_to_header_or_uri() -> None:
    outside, inside = accepted("cparam01").contact, accepted("cparam02").contact
    assert outside is not None
    assert inside is not None
    assert (outside.uri, outside.params) == ("sip:+19725552222@gw1.example.net", (("unknownparam", None),))
    assert (inside.uri, inside.params) == ("sip:+19725552222@gw1.example.net;unknownparam", ())


def test_regbadct_a_contact_with_headers_needs_brackets() -> None:
    with pytest.raises(SipParseError):
        _ = accepted("regbadct").contact
    assert accepted("regescrt").contact is not None


def test_dblreq_what_follows_the_first_message_is_no_part_of_it() -> None:
    assert accepted("dblreq").body == b""


def test_transports_the_top_via_counts() -> None:
    request = accepted("transports")
    assert [via.transport for via in request.vias] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]
    assert request.branch == "z9hG4bKkdjuw"


def test_longreq_is_read_to_its_end() -> None:
    request = accepted("longreq")
    assert len(request.vias) == 34
    assert len(request.body) == 150


def test_lwsdisp_no_space_before_the_bracket() -> None:
    assert (accepted("lwsdisp").from_.display, accepted("lwsdisp").from_tag) == ("caller", "323")


def test_badvers_the_refusal_repeats_the_via_as_it_was() -> None:
    with pytest.raises(SipParseError) as caught:
        parse_message(read("badvers"))
    request = caught.value.request
    assert isinstance(request, Request)
    assert request.headers.get("Via") == "SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw"


def test_badinv01_the_refusal_leaves_the_separators_out() -> None:
    with pytest.raises(SipParseError) as caught:
        parse_message(read("badinv01"))
    request = caught.value.request
    assert isinstance(request, Request)
    assert request.headers.get_all("Via") == ["SIP/2.0/UDP 192.0.2.15"]


def test_bcast_and_reason_phrases() -> None:
    bcast, unreason, noreason = (parse_message(read(name)) for name in ("bcast", "unreason", "noreason"))
    assert [via.host for via in bcast.vias] == ["192.0.2.198", "255.255.255.255"]
    assert isinstance(unreason, Response)
    assert unreason.reason.startswith("= 2**3 * 5**2 но")
    assert isinstance(noreason, Response)
    assert noreason.reason == ""


@pytest.mark.parametrize("name", ["esc01", "escruri", "longreq", "sdp01", "bcast"])
def test_session_descriptions_are_read(name: str) -> None:
    session = SessionDescription.parse(parse_message(read(name)).body)
    assert session.audio is not None
    assert [media.kind for media in session.media] == ["audio", "video"]


def test_unknown_schemes_are_uris_all_the_same() -> None:
    assert str(parse_uri(accepted("novelsc").uri)) == "soap.beep://192.0.2.103:3002"
    assert accepted("unksm2").to.uri == "isbn:2983792873"
    with pytest.raises(UriError):
        parse_uri("nocolon")

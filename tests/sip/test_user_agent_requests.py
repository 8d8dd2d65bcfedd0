"""What a request outside of a dialog, or one that cannot be taken, is answered."""

from __future__ import annotations

import pytest

from gateway.sip import transaction_layer, user_agent
from gateway.sip.flow import Flow
from gateway.sip.message import Response
from tests.sip.rig import ANSWER, OFFER, PEER, PEER_TCP, Rig, establish, request


def refused(rig: Rig, data: bytes, status: int) -> Response:
    """The refusal of a request that leaves nothing behind."""
    rig.receive(data)
    refusal = rig.take_response(status)
    assert refusal.to_tag
    assert rig.legs == []
    rig.assert_idle()
    return refusal


def without(data: bytes, name: str) -> bytes:
    lines = data.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.startswith(name.encode() + b":"))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("MESSAGE"), 405),
        (request("REGISTER"), 405),
        (request("UPDATE", to_tag="x"), 481),
        (request("FLY"), 501),
        (request("FLY", to_tag="x"), 501),
        (request(uri="http://example.com"), 416),
        (request("OPTIONS", uri="urn:service:sos"), 416),
        (request(uri="sip:a b"), 400),
        (request(extra="Require: something"), 420),
        (request("OPTIONS", extra="Require: something"), 420),
        (request(contact=None), 400),
        (request(contact="*"), 400),
        (request(contact="nonsense"), 400),
        (request(extra="Content-Type: application/isup"), 415),
        (request(extra="Content-Type: multipart/mixed;boundary=x"), 415),
        (request(extra="Content-Encoding: gzip"), 415),
        (without(request(), "Content-Type"), 400),
        (without(request(), "Max-Forwards").replace(b"From:", b"Max-Forwards: 0\r\nFrom:"), 483),
        (without(request(), "Max-Forwards").replace(b"From:", b"Max-Forwards: x\r\nFrom:"), 400),
        (request().replace(b" SIP/2.0\r\nVia", b" SIP/3.0\r\nVia"), 505),
        (request().replace(b"CSeq: 1 INVITE", b"CSeq: 1 BYE"), 400),
        (request(extra="Record-Route: nonsense"), 400),
        (request("BYE", to_tag="unknown"), 481),
        (request("INFO", to_tag="unknown"), 481),
        (request("OPTIONS", to_tag="unknown"), 481),
        (request("INVITE", to_tag="unknown"), 481),
        (request("BYE"), 481),
        (request("INFO"), 481),
        (request("CANCEL"), 481),
    ],
)
def test_what_cannot_be_taken_is_refused_and_not_remembered(rig: Rig, data: bytes, status: int) -> None:
    refused(rig, data, status)


def test_a_number_that_cannot_be_read_is_refused_as_it_was_written(rig: Rig) -> None:
    rig.receive(request().replace(b"CSeq: 1", b"CSeq: 99999999999"))
    ((_, flow, data),) = rig.sink.sent
    assert flow == PEER
    assert data.startswith(b"SIP/2.0 400 CSeq number out of range\r\n")
    assert b"\r\nCSeq: 99999999999 INVITE\r\n" in data


def test_a_request_without_a_call_id_is_refused_without_one(rig: Rig) -> None:
    """RFC 4475 §3.3.1: its transaction is found by the branch, and an empty Call-ID would be malformed."""
    rig.receive(without(request(), "Call-ID"))
    ((_, flow, data),) = rig.sink.sent
    assert flow == PEER
    assert data.startswith(b"SIP/2.0 400 ")
    assert b"Call-ID" not in data.partition(b"\r\n")[2]


def test_a_refusal_names_what_would_have_been_right(rig: Rig) -> None:
    allowed = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK, UPDATE, REFER"
    assert refused(rig, request("MESSAGE"), 405).headers.get("Allow") == allowed
    assert refused(rig, request("FLY"), 501).headers.get("Allow") == allowed
    wrong_type = refused(rig, request(extra="Content-Type: text/plain"), 415)
    assert wrong_type.headers.get("Accept") == "application/sdp"
    packed = refused(rig, request(extra="Content-Encoding: gzip"), 415)
    assert packed.headers.get("Accept-Encoding") == "identity"
    assert refused(rig, request(contact=None), 400).reason == "Missing Contact header"


def test_a_repetition_of_what_was_refused_gets_the_same_answer(rig: Rig) -> None:
    rig.receive(request(extra="Require: x"))
    rig.receive(request(extra="Require: x"))
    first, second = rig.sink.sent
    assert first[2] == second[2]


def test_the_ack_of_a_refusal_that_is_not_remembered_is_dropped(rig: Rig) -> None:
    refusal = refused(rig, request(extra="Require: x"), 420)
    rig.receive(request("ACK", to_tag=refusal.to_tag))
    assert rig.take() == []
    assert rig.sink.drops == ["stray_ack"]


@pytest.mark.parametrize(
    "uri", ["tel:+14155550100", "sips:+14155550100@example.com", "SIP:x@[2001:db8::1]:5070"]
)
def test_every_scheme_that_can_name_a_number_is_taken(rig: Rig, uri: str) -> None:
    rig.receive(request(uri=uri), Flow("tls", "192.0.2.10", 40000, 7))
    assert rig.legs[0].request.uri == uri


def test_a_sips_uri_that_came_without_tls_was_not_secure_all_the_way(rig: Rig) -> None:
    rig.receive(request(uri="sips:+14155550100@example.com"))
    refusal = rig.take_response(480)
    assert refusal.reason == "SIPS Not Allowed"
    assert refusal.headers.get("Warning") == '380 voice-gateway "SIPS Not Allowed"'
    rig.assert_idle()


def test_content_type_is_compared_without_case_and_parameters(rig: Rig) -> None:
    rig.receive(request(extra="Content-Type: Application/SDP;charset=utf-8"))
    assert len(rig.legs) == 1


def test_an_invite_without_an_offer_is_taken(rig: Rig) -> None:
    rig.receive(request(body=b""))
    assert rig.legs[0].request.body == b""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "malformed"),
        (b"\r\n\r\n", "malformed"),
        (b"\x00\xff\xfe", "malformed"),
        (b"SIP/2.0 200 OK\r\n\r\n", "malformed"),
        (request("ACK").replace(b"CSeq: 1 ACK", b"CSeq: x"), "malformed"),
        (request("ACK", to_tag="nobody"), "stray_ack"),
        (request().replace(b"Via:", b"Not-Via:"), "malformed"),
    ],
)
def test_what_cannot_be_answered_is_dropped_and_counted(rig: Rig, data: bytes, reason: str) -> None:
    rig.receive(data)
    assert rig.take() == []
    assert rig.sink.drops == [reason]
    rig.assert_idle()


def test_a_made_up_method_is_not_a_label(rig: Rig) -> None:
    rig.receive(request("FLY"))
    assert rig.sink.messages[0] == ("in", "OTHER", 0)
    rig.receive(request("OPTIONS"))
    assert rig.sink.messages[2:] == [("in", "OPTIONS", 0), ("out", "OPTIONS", 200)]


def test_options_mirrors_readiness(rig: Rig) -> None:
    rig.receive(request("OPTIONS"))
    ready = rig.take_response(200)
    assert ready.headers.get("Accept") == "application/sdp"
    assert ready.headers.get("Allow")
    rig.options = (503, (("Retry-After", "30"),))
    rig.receive(request("OPTIONS", branch="z9hG4bKo2"))
    assert rig.take_response(503).headers.get("Retry-After") == "30"
    rig.assert_idle()


def test_our_own_invite_sent_back_to_us_is_a_loop(rig: Rig) -> None:
    rig.call()
    sent = rig.take_request("INVITE")
    again = sent.to_bytes().replace(b"Via:", b"Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKproxy\r\nVia:", 1)
    rig.receive(again)
    assert rig.take_response(482).reason == "Loop Detected"
    assert rig.legs == []


def test_a_second_copy_of_an_invite_is_a_leg_of_its_own_that_knows_the_first(rig: Rig) -> None:
    rig.receive(request())
    rig.receive(request(branch="z9hG4bKother"), PEER._replace(host="192.0.2.11"))
    first, second = rig.legs
    assert first.merged_with is None
    assert second.merged_with is first
    first.refuse(404)
    assert first.final_status == 404
    assert not second.ended


def test_a_second_copy_that_nobody_listens_to_is_refused(rig: Rig) -> None:
    rig.receive(request())
    rig.take()
    rig.listen = False
    rig.receive(request(branch="z9hG4bKother"))
    trying, refusal = rig.take()
    assert (trying.status, refusal.status, refusal.reason) == (100, 482, "Merged Request")
    assert rig.legs[1].ended
    assert not rig.legs[0].ended


@pytest.mark.parametrize("end", ["answer", "refuse"])
def test_a_second_copy_is_known_as_long_as_the_first_ones_transaction_lives(rig: Rig, end: str) -> None:
    rig.receive(request())
    first = rig.legs[0]
    if end == "answer":
        first.answer(ANSWER)
        rig.receive(request("ACK", branch="z9hG4bKack", to_tag=first.local_tag))
        rig.receive(request("BYE", branch="z9hG4bKbye", cseq=2, to_tag=first.local_tag))
    else:
        first.refuse(404)
    rig.advance(31.9)
    rig.receive(request(branch="z9hG4bKa"))
    assert rig.legs[-1].merged_with is first
    rig.legs[-1].refuse(482)
    rig.advance(0.1)
    rig.receive(request(branch="z9hG4bKb"))
    assert rig.legs[-1].merged_with is None
    rig.legs[-1].refuse(404)
    rig.advance(64)
    rig.assert_idle()


@pytest.mark.parametrize("changed", [{"cseq": 2}, {"from_tag": "x"}, {"call_id": "x"}])
def test_another_call_is_no_copy(rig: Rig, changed: dict[str, object]) -> None:
    rig.receive(request())
    rig.receive(request(branch="z9hG4bKother", **changed))  # type: ignore[arg-type]
    assert rig.legs[1].merged_with is None


def test_when_the_legs_are_full_new_calls_go_elsewhere(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_agent, "MAX_LEGS", 1)
    leg = establish(rig)
    rig.receive(request(branch="z9hG4bKnew", call_id="new", from_tag="new"))
    assert rig.take_response(503).headers.get("Retry-After") == "10"
    rig.receive(request("BYE", branch="z9hG4bKbye", cseq=2, to_tag=leg.local_tag))
    rig.take_response(200)
    rig.receive(request(branch="z9hG4bKnew2", call_id="new", from_tag="new"))
    rig.take_response(100)


def test_when_the_transactions_are_full_only_goodbyes_are_remembered(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    leg = establish(rig)
    monkeypatch.setattr(transaction_layer, "MAX_TRANSACTIONS", 1)
    rig.receive(request(branch="z9hG4bKnew", call_id="new", from_tag="new"))
    rig.take_response(503)
    rig.receive(request("INFO", branch="z9hG4bKinfo", cseq=2, to_tag=leg.local_tag))
    rig.take_response(503)
    rig.receive(request("BYE", branch="z9hG4bKbye", cseq=3, to_tag=leg.local_tag))
    rig.take_response(200)
    assert leg.ended


def test_a_flood_of_requests_that_are_refused_costs_no_memory(rig: Rig) -> None:
    for number in range(500):
        rig.receive(request("OPTIONS", branch=f"z9hG4bKo{number}"))
        rig.receive(request("BYE", branch=f"z9hG4bKb{number}", to_tag="x"))
        rig.receive(request(branch=f"z9hG4bKi{number}", extra="Require: x"))
    assert len(rig.sink.sent) == 1500
    rig.assert_idle()


def test_received_and_rport_are_in_the_response(rig: Rig) -> None:
    rig.receive(
        request(via="SIP/2.0/UDP 10.0.0.1:5062;rport;branch=z9hG4bKr, SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKs"),
        PEER._replace(port=40001),
    )
    assert rig.flows() == [PEER._replace(port=40001)]
    vias = rig.take_response(100).vias
    assert (vias[0].param("received"), vias[0].param("rport")) == ("192.0.2.10", "40001")
    assert str(vias[1]) == "SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKs"


def test_every_via_comes_back_as_it_was_written(rig: Rig) -> None:
    below = 'SIP / 2.0 / UDP  10.0.0.2 ; Branch=z9hG4bKs ; X="a,b"'
    rig.receive(request(extra=f"v:{below}"))
    trying = rig.take_response(100)
    assert trying.headers.get_all("Via") == ["SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKcaller1", below]


def test_a_timestamp_comes_back_in_the_100_only(rig: Rig) -> None:
    rig.receive(request(extra="Timestamp: 54"))
    assert rig.take_response(100).headers.get("Timestamp") == "54"
    rig.legs[0].ring()
    assert "Timestamp" not in rig.take_response(180).headers


def test_the_response_of_a_dead_connection_takes_a_new_one(rig: Rig) -> None:
    rig.receive(request(via="SIP/2.0/TCP 192.0.2.10:5065;branch=z9hG4bKt"), PEER_TCP)
    assert rig.flows() == [PEER_TCP]
    rig.take()
    rig.sink.closed.add(PEER_TCP)
    rig.ua.transport_failed(PEER_TCP, "closed")
    rig.legs[0].ring()
    assert rig.flows() == [Flow("tcp", "192.0.2.10", 5065)]


def test_the_peer_is_handed_to_the_leg(rig: Rig) -> None:
    rig.receive(request(), peer="carrier")
    assert rig.legs[0].peer == "carrier"
    assert rig.legs[0].flow == PEER
    assert rig.legs[0].request.body == OFFER

"""Calls that must not be connected: each gets the status that makes its carrier do the right thing."""

from __future__ import annotations

import pytest

from tests.e2e import carriers
from tests.e2e.carriers import Call, audio_offer
from tests.e2e.exchange import Exchange
from tests.e2e.gateway_process import wait_until
from tests.e2e.sipp import Sipp
from tests.e2e.wire import Peer, write

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("transport", ["u1", "t1"], ids=["udp", "tcp"])
@pytest.mark.parametrize("case", ["unknown", "outbound-only", "inactive"])
def test_a_number_that_takes_no_calls_is_404(exchange: Exchange, tmp_path, case, transport):
    number = {
        "unknown": exchange.unknown_number,
        "outbound-only": lambda: exchange.line(None, inbound_routing=None).number,
        "inactive": lambda: exchange.line(None, status="inactive").number,
    }[case]()
    with Sipp(
        tmp_path,
        "carrier_refused",
        host=carriers.TWILIO_HOST,
        remote=exchange.gateway.sip,
        transport=transport,
        arguments=("-s", number),
        status=404,
    ) as carrier:
        carrier.succeed()


def test_agents_down_and_voicemail_off_is_480(exchange: Exchange, tmp_path):
    with Sipp(tmp_path, "agent_refuses", status=503) as agent:
        line = exchange.line(agent.uri, voicemail=False)
        with Sipp(
            tmp_path,
            "carrier_refused_ringing",
            host=carriers.TELNYX_HOST,
            remote=exchange.gateway.sip,
            arguments=("-s", line.number),
            status=480,
        ) as carrier:
            carrier.succeed()


def test_an_unknown_source_hears_nothing_and_is_counted(exchange: Exchange):
    dropped = exchange.gateway.metric("gateway_sip_dropped_total")
    with Peer(carriers.STRANGER_HOST) as stranger:
        call = Call(stranger, exchange.gateway.sip, exchange.unknown_number(), audio_offer("127.0.0.1", 4000))
        call.send()
        stranger.receive_nothing(0.5)
    wait_until(
        lambda: exchange.gateway.metric("gateway_sip_dropped_total") == dropped + 1, "the drop is counted"
    )


def _ask(exchange: Exchange, peer: Peer, start: str, replace: dict[str, str | None], body: str = "") -> int:
    """Send one request with some of its headers replaced (None removes); the final status, acknowledged."""
    call = Call(peer, exchange.gateway.sip, "+14155550100", body)
    method = start.split()[0]
    headers: dict[str, str | None] = {
        "Via": f"SIP/2.0/UDP {peer.hostport};branch={call.branch}",
        "From": f"<sip:{carriers.CALLER}@example.com>;tag={call.tag}",
        "To": f"<sip:{call.number}@example.com>",
        "Call-ID": call.call_id,
        "CSeq": f"{call.cseq} {method}",
        "Max-Forwards": "70",
        "Contact": f"<sip:{peer.hostport}>",
    }
    if body:
        headers["Content-Type"] = "application/sdp"
    headers |= replace
    kept = [(name, value) for name, value in headers.items() if value is not None]
    peer.send(write(start, kept, body), exchange.gateway.sip)
    response = peer.receive_final()
    if method == "INVITE":
        call.ack_refusal(response)
    return response.status


URI = "sip:+14155550100@127.0.0.1"
SAVP = audio_offer("127.0.0.1", 4000).replace("RTP/AVP", "RTP/SAVP")


@pytest.mark.parametrize(
    ("start", "replace", "body", "status"),
    [
        (f"INVITE {URI} SIP/2.0", {"CSeq": "one INVITE"}, "", 400),
        (f"INVITE {URI} SIP/2.0", {"Call-ID": None}, "", 400),
        (f"INVITE {URI} SIP/3.0", {}, "", 505),
        ("INVITE mailto:somebody@example.com SIP/2.0", {}, "", 416),
        (f"INVITE {URI} SIP/2.0", {"Require": "100rel, teleport"}, "", 420),
        (f"INVITE {URI} SIP/2.0", {"Max-Forwards": "0"}, "", 483),
        (f"INVITE {URI} SIP/2.0", {"To": f"<{URI}>;tag=gone"}, "", 481),
        (f"INVITE {URI} SIP/2.0", {"Content-Type": "text/plain"}, "hello", 415),
        (f"BYE {URI} SIP/2.0", {"To": f"<{URI}>;tag=gone"}, "", 481),
        (f"CANCEL {URI} SIP/2.0", {}, "", 481),
        (f"SUBSCRIBE {URI} SIP/2.0", {}, "", 405),
        (f"TELEPORT {URI} SIP/2.0", {}, "", 501),
        (f"OPTIONS {URI} SIP/2.0", {}, "", 200),
    ],
)
def test_a_request_that_cannot_be_served_says_why(exchange: Exchange, start, replace, body, status):
    with Peer(carriers.TWILIO_HOST) as peer:
        assert _ask(exchange, peer, start, replace, body) == status


def test_a_secure_offer_is_488_never_answered_in_the_clear(exchange: Exchange):
    line = exchange.line(None)
    with Peer(carriers.TWILIO_HOST) as peer:
        call = Call(peer, exchange.gateway.sip, line.number, SAVP)
        call.send()
        assert call.refused().status == 488

"""A carrier that tries the same call again gets the same final answer, and no agent is rung twice for it."""

from __future__ import annotations

import pytest

from tests.e2e import carriers
from tests.e2e.carriers import Call, TelnyxCall
from tests.e2e.exchange import Exchange
from tests.e2e.two_ends import AGENT_TAG, TwoEnds
from tests.e2e.wire import Peer

pytestmark = pytest.mark.e2e


def _refuse_once(ends: TwoEnds) -> None:
    """The only agent refuses, voicemail is off: the carrier is told 480."""
    invite = ends.invite()
    ends.agent.respond(invite, 503, "Service Unavailable", tag=AGENT_TAG)
    ends.agent.receive("ACK")
    assert ends.call.refused().status == 480


def test_the_same_call_id_and_tag_in_a_new_transaction(exchange: Exchange):
    with TwoEnds(exchange, voicemail=False) as ends:
        _refuse_once(ends)
        retry = Call(
            ends.carrier,
            exchange.gateway.sip,
            ends.line.number,
            ends.call.sdp,
            call_id=ends.call.call_id,
            tag=ends.call.tag,
            carrier_call_id=ends.call.carrier_call_id,
        )
        retry.send()
        assert retry.refused().status == 480
        ends.agent.receive_nothing(0.2)


def test_the_same_carrier_call_from_the_carriers_second_address(exchange: Exchange):
    with (
        TwoEnds(exchange, dress=TelnyxCall, host=carriers.TELNYX_HOST, voicemail=False) as ends,
        Peer(carriers.TELNYX_SECOND_HOST) as second,
    ):
        _refuse_once(ends)
        retry = TelnyxCall(
            second,
            exchange.gateway.sip,
            ends.line.number,
            ends.call.sdp,
            carrier_call_id=ends.call.carrier_call_id,
        )
        retry.send()
        assert retry.refused().status == 480
        ends.agent.receive_nothing(0.2)

"""A caller who gives up: while it rings, while agents change, and in the instant of the answer."""

from __future__ import annotations

import pytest

from tests.e2e import carriers
from tests.e2e.exchange import HOST, Exchange
from tests.e2e.gateway_process import wait_until
from tests.e2e.sipp import Sipp, free_port
from tests.e2e.two_ends import AGENT_TAG, TwoEnds
from tests.e2e.wire import Peer

pytestmark = pytest.mark.e2e


@pytest.fixture
def abandoned(exchange: Exchange):
    """The test's one call must be counted as abandoned, and as nothing else."""
    before = exchange.gateway.metric("gateway_calls_total", outcome="abandoned")
    everything = exchange.gateway.metric("gateway_calls_total")
    yield
    wait_until(
        lambda: exchange.gateway.metric("gateway_calls_total", outcome="abandoned") == before + 1,
        "the call is counted as abandoned",
    )
    assert exchange.gateway.metric("gateway_calls_total") == everything + 1


@pytest.mark.usefixtures("abandoned")
def test_while_ringing(exchange: Exchange, tmp_path):
    with Sipp(tmp_path, "agent_stalls", status=180, tag=";tag=stalled") as agent:
        line = exchange.line(agent.uri)
        with Sipp(
            tmp_path,
            "carrier_cancels",
            host=carriers.TWILIO_HOST,
            remote=exchange.gateway.sip,
            arguments=("-s", line.number),
            patience=300,
        ) as carrier:
            carrier.succeed()
        agent.succeed()


@pytest.mark.usefixtures("abandoned")
def test_before_the_agent_has_said_anything_its_cancel_waits_for_a_provisional(exchange: Exchange):
    with TwoEnds(exchange) as ends:
        invite = ends.invite()
        ends.call.cancel()
        assert {ends.carrier.receive(180, 200, 487).status for _ in range(3)} == {180, 200, 487}
        ends.agent.receive_nothing(0.2)  # RFC 3261 §9.1: no CANCEL before a provisional response
        ends.agent.respond(invite, 180, "Ringing", tag=AGENT_TAG)
        cancel = ends.agent.receive("CANCEL")
        assert cancel["via"] == invite["via"]
        ends.agent.respond(cancel, 200, "OK", tag=AGENT_TAG)
        ends.agent.respond(invite, 487, "Request Terminated", tag=AGENT_TAG)
        ends.agent.receive("ACK")


@pytest.mark.usefixtures("abandoned")
def test_while_failing_over(exchange: Exchange):
    with Peer() as second, TwoEnds(exchange, fallback=f"sip:agent@{second.hostport}") as ends:
        invite = ends.invite()
        ends.agent.respond(invite, 503, "Service Unavailable", tag=AGENT_TAG)
        ends.agent.receive("ACK")
        retry = second.receive("INVITE")
        second.respond(retry, 180, "Ringing", tag="second")
        ends.call.cancel()
        cancel = second.receive("CANCEL")
        second.respond(cancel, 200, "OK", tag="second")
        second.respond(retry, 487, "Request Terminated", tag="second")
        second.receive("ACK")
        heard = [ends.carrier.receive(180, "200 CANCEL", 487) for _ in range(3)]
        refusal = next(message for message in heard if message.status == 487)
        ends.call.ack_refusal(refusal)
        ends.agent.receive_nothing(0.2)


@pytest.mark.usefixtures("abandoned")
def test_crossing_the_agents_200(exchange: Exchange):
    """The agent answers in the instant in which the gateway's CANCEL is under way: ACK, then BYE."""
    with TwoEnds(exchange) as ends:
        invite = ends.ring()
        ends.call.cancel()
        cancel = ends.agent.receive("CANCEL")
        ends.answer(invite)
        ends.agent.respond(cancel, 200, "OK", tag=AGENT_TAG)
        ends.agent.receive("ACK")
        ends.agent.respond(ends.agent.receive("BYE"), 200, "OK")
        ends.carrier.receive("200 CANCEL")
        ends.call.ack_refusal(ends.carrier.receive("487 INVITE"))


def test_crossing_our_200(exchange: Exchange):
    """The caller's CANCEL meets our 200 on the wire: it changes nothing, the caller's BYE ends the call."""
    with TwoEnds(exchange) as ends:
        invite = ends.ring()
        ends.answer(invite)
        ok = ends.carrier.receive("200 INVITE")
        ends.call.cancel()
        ends.carrier.receive("200 CANCEL")
        dialog = ends.call.dialog(ok)
        dialog.ack(ok)
        ends.agent.receive("ACK")
        dialog.hang_up()
        ends.agent.respond(ends.agent.receive("BYE"), 200, "OK")


@pytest.mark.usefixtures("abandoned")
def test_of_a_silent_agent_leaves_nothing(exchange: Exchange):
    with TwoEnds(exchange, fallback=f"sip:agent@{HOST}:{free_port(HOST)}") as ends:
        ends.invite()
        ends.call.cancel()
        statuses = {ends.carrier.receive(180, 200, 487).status for _ in range(3)}
        assert statuses == {180, 200, 487}

"""SIPp calls through the gateway to SIPp: the primary agent, and every way in which it can fail to answer."""

from __future__ import annotations

import pytest

from tests.e2e import carriers
from tests.e2e.exchange import HOST, Exchange
from tests.e2e.sipp import Sipp, free_port

pytestmark = pytest.mark.e2e

DRESSES = {
    "twilio": ("carrier_twilio", carriers.TWILIO_HOST, ""),
    "telnyx": ("carrier_telnyx", carriers.TELNYX_HOST, "+"),
}


@pytest.mark.parametrize("transport", ["u1", "t1"], ids=["udp", "tcp"])
@pytest.mark.parametrize("dress", DRESSES)
def test_the_primary_agent_answers(exchange: Exchange, tmp_path, dress, transport):
    scenario, host, not_sent = DRESSES[dress]
    answered = exchange.gateway.metric("gateway_calls_total", carrier=dress, outcome="agent")
    with Sipp(tmp_path, "agent_answers", transport=transport, ring=100) as agent:
        line = exchange.line(agent.uri)
        number = line.number.removeprefix(not_sent)
        with Sipp(
            tmp_path,
            scenario,
            host=host,
            remote=exchange.gateway.sip,
            transport=transport,
            arguments=("-s", number),
            talk=200,
        ) as carrier:
            carrier.succeed()
            agent.succeed()
    assert exchange.gateway.metric("gateway_calls_total", carrier=dress, outcome="agent") == answered + 1


def _falls_back(exchange: Exchange, directory, primary: str) -> None:
    """A call to a number whose primary agent is at ``primary`` is taken by its fallback."""
    fell_back = exchange.gateway.metric("gateway_calls_total", carrier="twilio", outcome="fallback")
    with Sipp(directory, "agent_answers", ring=0) as fallback:
        line = exchange.line(primary, fallback.uri)
        with Sipp(
            directory,
            "carrier_twilio",
            host=carriers.TWILIO_HOST,
            remote=exchange.gateway.sip,
            arguments=("-s", line.number),
            talk=50,
        ) as carrier:
            carrier.succeed()
            fallback.succeed()
    assert (
        exchange.gateway.metric("gateway_calls_total", carrier="twilio", outcome="fallback") == fell_back + 1
    )


@pytest.mark.parametrize("status", [404, 480, 486, 500, 503, 603])
def test_a_primary_that_refuses_is_left_for_the_fallback(exchange: Exchange, tmp_path, status):
    with Sipp(tmp_path, "agent_refuses", status=status) as primary:
        _falls_back(exchange, tmp_path, primary.uri)
        primary.succeed()


@pytest.mark.parametrize(("status", "tag"), [(100, ""), (180, ";tag=stalled")], ids=["trying", "ringing"])
def test_a_primary_that_never_answers_is_cancelled_for_the_fallback(
    exchange: Exchange, tmp_path, status, tag
):
    with Sipp(tmp_path, "agent_stalls", status=status, tag=tag) as primary:
        _falls_back(exchange, tmp_path, primary.uri)
        primary.succeed()


def test_a_silent_primary_is_left_for_the_fallback(exchange: Exchange, tmp_path):
    with Sipp(tmp_path, "agent_silent") as primary:
        _falls_back(exchange, tmp_path, primary.uri)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_primary_that_is_not_there_is_left_for_the_fallback(exchange: Exchange, tmp_path, transport):
    _falls_back(exchange, tmp_path, f"sip:agent@{HOST}:{free_port(HOST)};transport={transport}")


def test_the_second_endpoint_of_an_agent_comes_before_the_fallback(exchange: Exchange, tmp_path):
    with (
        Sipp(tmp_path, "agent_refuses", status=503) as first,
        Sipp(tmp_path, "agent_answers", ring=0) as second,
    ):
        line = exchange.line([first.uri, second.uri], f"sip:agent@{HOST}:{free_port(HOST)}")
        with Sipp(
            tmp_path,
            "carrier_twilio",
            host=carriers.TWILIO_HOST,
            remote=exchange.gateway.sip,
            arguments=("-s", line.number),
            talk=50,
        ) as carrier:
            carrier.succeed()
        first.succeed()
        second.succeed()

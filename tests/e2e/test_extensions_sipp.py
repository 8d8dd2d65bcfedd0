"""100rel, session timers, UPDATE, REFER and Reason, with a stack that we did not write."""

from __future__ import annotations

import pytest

from tests.e2e import carriers
from tests.e2e.exchange import Exchange
from tests.e2e.sipp import Sipp

pytestmark = pytest.mark.e2e


def carrier(exchange: Exchange, directory, number: str) -> Sipp:
    return Sipp(
        directory,
        "carrier_confirms",
        host=carriers.TWILIO_HOST,
        remote=exchange.gateway.sip,
        arguments=("-s", number),
        talk=1500,
    )


def test_a_caller_with_100rel_and_a_session_timer(exchange: Exchange, tmp_path):
    with Sipp(tmp_path, "agent_answers", ring=300) as agent:
        line = exchange.line(agent.uri)
        with carrier(exchange, tmp_path, line.number) as caller:
            caller.succeed()
        agent.succeed()
        assert 'Reason: Q.850;cause=16;text="Normal call clearing"' in agent.story


@pytest.mark.parametrize("outcome", ["200 OK", "486 Refused"])
def test_an_agent_sends_its_caller_on(exchange: Exchange, tmp_path, outcome: str):
    scenario = "agent_answers" if outcome == "200 OK" else "agent_refuses"
    blanks = {"ring": 0} if outcome == "200 OK" else {"status": 486}
    with Sipp(tmp_path, scenario, **blanks) as second:
        target = f"sip:{exchange.line(second.uri).primary}@127.0.0.1"
        with Sipp(tmp_path, "agent_refers", target=target, outcome=outcome) as first:
            line = exchange.line(first.uri)
            with carrier(exchange, tmp_path, line.number) as caller:
                caller.succeed()
            first.succeed()
        second.succeed()

"""The edge between carrier and gateway: every request of a call, of either side, goes through it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import carriers
from tests.e2e.edge import Edge
from tests.e2e.exchange import Exchange
from tests.e2e.gateway_process import wait_until
from tests.e2e.sipp import Sipp
from tests.e2e.two_ends import AGENT_TAG, TwoEnds
from tests.e2e.wire import Dialog

pytestmark = pytest.mark.e2e


def edge_before(exchange: Exchange, directory: Path, towards: str) -> Edge:
    """An edge that has this gateway as its only node, and passes calls on over a transport."""
    host, port = exchange.gateway.sip
    node = f"sip:{host}:{port};transport={towards}"
    return Edge(directory / "edge", [node], carriers=[carriers.TWILIO_HOST])


@pytest.mark.parametrize("towards", ["udp", "tcp"])
@pytest.mark.parametrize("carrier", ["u1", "t1"], ids=["udp", "tcp"])
def test_calls_through_a_proxy(exchange: Exchange, tmp_path: Path, carrier: str, towards: str) -> None:
    with (
        edge_before(exchange, tmp_path, towards) as edge,
        Sipp(tmp_path, "agent_answers", ring=50) as agent,
    ):
        line = exchange.line(agent.uri)
        with Sipp(
            tmp_path,
            "carrier_behind_proxy",
            host=carriers.TWILIO_HOST,
            remote=edge.address,
            transport=carrier,
            arguments=("-s", line.number),
            talk=200,
        ) as caller:
            caller.succeed()
        agent.succeed()


@pytest.mark.parametrize("towards", ["udp", "tcp"])
def test_the_gateways_goodbye_goes_through_the_proxy(
    exchange: Exchange, tmp_path: Path, towards: str
) -> None:
    with (
        edge_before(exchange, tmp_path, towards) as edge,
        TwoEnds(exchange) as ends,
    ):
        ends.call.gateway = edge.address
        invite = ends.invite()
        ends.agent.respond(invite, 180, "Ringing", tag=AGENT_TAG, headers=[ends.agent_contact])
        ringing = ends.carrier.receive(180)
        routes = ringing.all("record-route")
        assert any(f":{edge.address[1]}" in route for route in routes)
        assert any(ends.carrier.hostport in route for route in routes)  # the carrier's own, behind it
        ends.answer(invite)
        ok = ends.carrier.receive_final()
        dialog = ends.call.dialog(ok)
        dialog.routes = [ok.all("record-route")[0]]  # the carrier's own proxies have removed theirs
        dialog.ack(ok)
        ends.agent.receive("ACK")
        callee = Dialog.of_callee(ends.agent, invite, tag=AGENT_TAG)
        callee.hang_up()
        bye = ends.carrier.receive("BYE")
        assert bye.source == edge.address
        assert f":{edge.address[1]}" in bye["via"]
        ends.carrier.respond(bye, 200, "OK")
        wait_until(lambda: exchange.gateway.metric("gateway_calls_active") == 0, "the call is over")

"""The edge of `configs/kamailio`: one address before two nodes, and what it lets through."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import tomllib
import urllib.request
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.certificates import Authority
from tests.e2e import carriers, edge
from tests.e2e.carriers import Call, audio_offer
from tests.e2e.edge import Edge
from tests.e2e.exchange import CARRIERS, _tables, settings
from tests.e2e.gateway_process import GatewayProcess, wait_until
from tests.e2e.sipp import Sipp, free_port, require
from tests.e2e.wire import Address, Message, Peer, new_branch, read, write

pytestmark = pytest.mark.e2e

NUMBER = "+14155550100"
KEY = "oi_sk_edge_under_test"
NODE_HOSTS = ("127.0.21.1", "127.0.21.2")
PATIENCE = 600
"""Milliseconds of silence after which a node is given up here, in place of the shipped 2000."""


def call_to(peer: Peer, at: Edge) -> Call:
    """A Twilio-shaped call that the edge gets."""
    return Call(peer, at.address, NUMBER, audio_offer("127.0.0.1", 16400))


@pytest.fixture
def carrier() -> Iterator[Peer]:
    with Peer(carriers.TWILIO_HOST) as peer:
        yield peer


class Nodes:
    """Two probes in the place of nodes, behind an edge: what each gets, and whatever a test has it say.

    probe_seconds: between OPTIONS, which only those tests want that answer them.
    """

    def __init__(self, directory: Path, *, probe_seconds: int = 3600, **settings: int) -> None:
        self.both = tuple(Peer(host) for host in NODE_HOSTS)
        self.edge = Edge(
            directory / "edge",
            [f"sip:{each.hostport}" for each in self.both],
            carriers=[carriers.TWILIO_HOST],
            node_patience=PATIENCE,
            call_patience=PATIENCE,
            probe_seconds=probe_seconds,
            **settings,
        )

    def first(self, method: str) -> tuple[Peer, Peer, Message]:
        """The node that gets such a request first, the other one, and the request."""
        for _ in range(100):
            for node, other in (self.both, self.both[::-1]):
                request = node.poll(method, 0.02)
                if request is not None:
                    return node, other, request
        raise AssertionError(f"no node got {method}\n{self.edge.story}")

    def call(self, peer: Peer) -> tuple[Peer, Peer, Call, Message]:
        """Place a call: the node that gets it, the other one, the call, and the INVITE at the node."""
        call = call_to(peer, self.edge)
        call.send()
        node, other, invite = self.first("INVITE")
        return node, other, call, invite

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.edge.stop()
        for each in self.both:
            each.close()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with Nodes(tmp_path) as nodes:
        yield nodes


def test_debians_kamailio_takes_the_shipped_files() -> None:
    command = [require("kamailio"), "-c", "-f", str(edge.SHIPPED / "kamailio.cfg")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "tls: 203.0.113.5" in done.stdout + done.stderr


def test_its_carriers_are_the_gateways() -> None:
    trunks = tomllib.loads((edge.SHIPPED.parent / "carriers.toml").read_text())["trunk"]
    wanted = {(ip_network(source), trunk["name"]) for trunk in trunks for source in trunk["sources"]}
    rows = [line.split() for line in (edge.SHIPPED / "carriers.list").read_text().splitlines()]
    listed = {(ip_network(f"{row[1]}/{row[2]}"), row[4]) for row in rows if row[0] != "#"}
    assert listed == wanted


def test_the_node_is_told_the_carriers_address_and_nobody_elses(nodes: Nodes, carrier: Peer) -> None:
    call = call_to(carrier, nodes.edge)
    forged = b"X-Edge-Source: 54.172.60.1\r\nx-edge-source : 54.172.60.2\r\nRoute: <sip:192.0.2.1;lr>\r\n"
    carrier.send(call.invite().replace(b"Max-Forwards", forged + b"Max-Forwards", 1), call.gateway)
    _, _, invite = nodes.first("INVITE")
    assert invite.all("x-edge-source") == [carriers.TWILIO_HOST]
    assert invite.all("route") == []
    assert f":{nodes.edge.address[1]}" in invite.all("record-route")[0]
    assert carriers.TWILIO_HOST in invite.all("record-route")[1]


def test_a_node_that_is_full_or_silent_is_passed_over(nodes: Nodes, carrier: Peer) -> None:
    node, other, _, invite = nodes.call(carrier)
    node.respond(invite, 503, "Overloaded", tag="full", headers=[("Retry-After", "5")])
    node.receive("ACK")
    second = other.receive("INVITE")  # and says nothing: there is no third
    assert second["call-id"] == invite["call-id"]
    assert second.all("x-edge-source") == [carriers.TWILIO_HOST]
    carrier.receive(100)
    assert carrier.receive_final().status == 503
    assert len(nodes.edge.taking_calls()) == 1  # a 503 costs a node this call, silence all until it answers


def test_silence_alone_is_passed_over_as_well(nodes: Nodes, carrier: Peer) -> None:
    _, other, call, _ = nodes.call(carrier)
    invite = other.receive("INVITE")
    other.respond(invite, 404, "Not Found", tag="second")
    assert call.refused().status == 404


@pytest.mark.parametrize("status", [404, 480, 486, 500, 603])
def test_what_is_meant_for_the_caller_is_not_tried_elsewhere(
    nodes: Nodes, carrier: Peer, status: int
) -> None:
    node, other, call, invite = nodes.call(carrier)
    node.respond(invite, status, "No", tag="refusal")
    assert call.refused().status == status
    other.receive_nothing(0.1)


def test_options_decide_who_gets_calls(tmp_path: Path, carrier: Peer) -> None:
    with Nodes(tmp_path, probe_seconds=1) as nodes:
        out, other = nodes.both
        everybody = {f"sip:{each.hostport}" for each in nodes.both}
        assert nodes.edge.taking_calls() == everybody
        out.answer_options = False

        def asked(status: int, left: set[str]) -> bool:
            """Answer the next OPTIONS; whether these nodes take calls then."""
            question = out.poll("OPTIONS", 0.1)
            if question is not None:
                out.respond(question, status, "Draining")
            other.poll("OPTIONS", 0.05)
            return nodes.edge.taking_calls() == left

        wait_until(lambda: asked(503, {f"sip:{other.hostport}"}), "one is out")
        for _ in range(4):
            assert nodes.call(carrier)[0] is other
        wait_until(lambda: asked(200, everybody), "it is back")


def options(peer: Peer, at: Edge) -> Message:
    headers = [
        ("Via", f"SIP/2.0/UDP {peer.hostport};branch={new_branch()}"),
        ("From", f"<sip:carrier@example.com>;tag={new_branch()}"),
        ("To", "<sip:voice.example.com>"),
        ("Call-ID", new_branch()),
        ("CSeq", "1 OPTIONS"),
        ("Max-Forwards", "70"),
    ]
    peer.send(write(f"OPTIONS sip:{at.address[0]}:{at.address[1]} SIP/2.0", headers), at.address)
    return peer.receive_final()


def test_without_a_node_carriers_are_sent_elsewhere(tmp_path: Path, carrier: Peer) -> None:
    with Nodes(tmp_path, probe_seconds=1) as nodes:
        assert options(carrier, nodes.edge).status == 200
        wait_until(lambda: not nodes.edge.taking_calls(), "both are out")  # nobody answered
        refusal = options(carrier, nodes.edge)
        assert (refusal.status, refusal["retry-after"]) == (503, "5")
        call = call_to(carrier, nodes.edge)
        call.send()
        assert call.refused()["retry-after"] == "5"


def within(call: Call, peer: Peer, method: str, target: str, route: str, cseq: int = 2) -> bytes:
    """A request that pretends to be in a dialog."""
    lines = [
        ("Via", f"SIP/2.0/UDP {peer.hostport};branch={new_branch()}"),
        ("Route", route),
        ("From", f"<sip:{carriers.CALLER}@example.com>;tag={call.tag}"),
        ("To", f"<sip:{NUMBER}@voice.example.com>;tag=made-up"),
        ("Call-ID", call.call_id),
        ("CSeq", f"{cseq} {method}"),
        ("Max-Forwards", "70"),
    ]
    return write(f"{method} {target} SIP/2.0", lines)


def test_it_is_no_open_relay(nodes: Nodes, carrier: Peer) -> None:
    at, call = nodes.edge.address, call_to(carrier, nodes.edge)
    own = f"<sip:{at[0]}:{at[1]};lr>"
    with Peer("127.0.66.2") as victim, Peer(carriers.STRANGER_HOST) as stranger:
        elsewhere = f"sip:x@{victim.hostport}"
        for method in ("BYE", "INFO", "INVITE"):
            carrier.send(within(call, carrier, method, elsewhere, own), at)
            assert carrier.receive_final().status == 403
            carrier.send(
                within(call, carrier, method, f"sip:{nodes.both[0].hostport}", f"{own}, <{elsewhere};lr>"), at
            )
            assert carrier.receive_final().status == 403
        carrier.send(within(call, carrier, "ACK", elsewhere, own), at)
        reply = write(
            "SIP/2.0 200 OK",
            [
                ("Via", f"SIP/2.0/UDP {at[0]}:{at[1]};branch={new_branch()}"),
                ("Via", f"SIP/2.0/UDP {victim.hostport};branch={new_branch()}"),
                *[
                    ("From", "<sip:a@b>;tag=1"),
                    ("To", "<sip:c@d>;tag=2"),
                    ("Call-ID", "x"),
                    ("CSeq", "1 BYE"),
                ],
            ],
        )
        carrier.send(reply, at)
        stranger.send(call_to(stranger, nodes.edge).invite(), at)
        stranger.send(within(call, stranger, "BYE", f"sip:{nodes.both[0].hostport}", own), at)
        node = nodes.both[0]
        node.send(call_to(node, nodes.edge).invite(), at)  # nodes take calls, and place none through here
        assert node.receive_final().status == 403
        victim.receive_nothing(0.2)
        stranger.receive_nothing(0.1)
        assert all(each.poll("BYE", 0.1) is None for each in nodes.both)


def test_a_request_for_a_lost_node_finds_another(nodes: Nodes, carrier: Peer) -> None:
    node, other, call, invite = nodes.call(carrier)
    contact = ("Contact", f"<sip:{node.hostport}>")
    node.respond(invite, 200, "OK", tag="lost", headers=[contact], body=audio_offer("127.0.0.1", 16402))
    ok = carrier.receive_final()
    dialog = call.dialog(ok)
    dialog.routes = [ok.all("record-route")[0]]
    dialog.ack(ok)
    node.receive("ACK")
    dialog.send("BYE")
    node.receive("BYE")  # but the process is dead
    bye = other.receive("BYE")
    assert bye.uri == f"sip:{node.hostport}"
    other.respond(bye, 200, "OK")
    carrier.receive("200 BYE")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ([b"Max-Forwards: 60", b"Max-Forwards: 0"], 483),
        ([b"Diversion:", b"X-Long: " + b"x" * 16_000 + b"\r\nDiversion:"], 513),
        ([b"CSeq: 29044 INVITE", b"CSeq: 29044 BYE"], 400),
        ([b"INVITE sip:", b"MESSAGE sip:", b" INVITE\r", b" MESSAGE\r"], 405),
    ],
)
def test_what_is_not_sane_gets_no_further(
    nodes: Nodes, carrier: Peer, data: list[bytes], status: int
) -> None:
    text = call_to(carrier, nodes.edge).invite()
    for old, new in zip(data[::2], data[1::2], strict=True):
        text = text.replace(old, new, 1)
    carrier.send(text, nodes.edge.address)
    assert carrier.receive_final().status == status
    for each in nodes.both:
        each.receive_nothing(0.05)


def test_a_carrier_that_floods_is_slowed_down(tmp_path: Path, carrier: Peer) -> None:
    with Nodes(tmp_path, calls_a_second=5) as nodes:
        statuses: list[int] = []
        for _ in range(40):
            call = call_to(carrier, nodes.edge)
            call.send()
            answer = carrier.receive(100, 503)
            statuses.append(answer.status)
            if answer.status == 503:
                assert answer["retry-after"] == "1"
        assert statuses.count(503) >= 10
        assert 100 in statuses


class House:
    """Two gateways with the same numbers, an edge before them that speaks TLS as well, and one agent."""

    def __init__(self, directory: Path) -> None:
        self.dead: GatewayProcess | None = None
        self.agent = Sipp(directory, "agent_answers", calls=1000, seconds=300, ring=0)
        self.authority = Authority(directory)
        routing = {"agent_id": "agt_only"}
        numbers = [{"id": "phn_1", "phone_number": NUMBER, "inbound_routing": routing}]
        agents = [{"id": "agt_only", "name": "agent", "endpoints": [{"url": self.agent.uri}]}]
        self.nodes = [self._node(directory / host, host, agents, numbers) for host in NODE_HOSTS]
        self.edge = Edge(
            directory / "edge",
            [f"sip:{each.sip[0]}:{each.sip[1]}" for each in self.nodes],
            carriers=[carriers.TWILIO_HOST],
            certificate=self.authority.issue(edge.HOST),
        )

    def _node(self, directory: Path, host: str, agents: list, numbers: list) -> GatewayProcess:
        directory.mkdir()
        (directory / "carriers.toml").write_text(CARRIERS)
        (directory / "numbers.toml").write_text(_tables("agents", agents) + _tables("numbers", numbers))
        addresses: list[Address] = [(host, free_port(host)), ("127.0.0.1", free_port("127.0.0.1"))]
        whole = settings(directory, *addresses)
        whole["api"] = {"bootstrap_key": KEY}
        return GatewayProcess(directory, whole, sip=addresses[0], http=addresses[1], patience=60)

    def calls(self) -> list[float]:
        """How many each node has taken so far."""
        return [each.metric("gateway_calls_total") for each in self.nodes]

    def drain(self, node: GatewayProcess, *, ends: bool) -> None:
        """As `voice-gateway drain` has it, and ``--undo``."""
        request = urllib.request.Request(
            f"http://{node.http[0]}:{node.http[1]}/v1/drain",
            method="DELETE" if ends else "POST",
            headers={"Authorization": f"Bearer {KEY}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"))
    with house.edge, house.agent:
        yield house
    for node in house.nodes:
        if node is not house.dead:
            node.stop()


def place(house: House, directory: Path, count: int, talk: int = 50, transport: str = "u1") -> Sipp:
    """SIPp as a carrier that obeys the edge's Record-Route."""
    return Sipp(
        directory,
        "carrier_behind_proxy",
        host=carriers.TWILIO_HOST,
        remote=house.edge.address,
        transport=transport,
        calls=count,
        arguments=("-s", NUMBER, "-r", "20", "-l", "40"),
        talk=talk,
    )


@pytest.mark.parametrize("transport", ["u1", "t1"], ids=["udp", "tcp"])
def test_calls_are_spread_and_each_stays_with_its_node(house: House, tmp_path: Path, transport: str) -> None:
    before = house.calls()
    with place(house, tmp_path, 24, transport=transport) as caller:
        caller.succeed()  # a BYE that reached the other node would be answered 481
    taken = [now - then for now, then in zip(house.calls(), before, strict=True)]
    assert sum(taken) == 24
    assert min(taken) > 0
    for node in house.nodes:
        assert node.metric("gateway_calls_total", carrier="twilio") == node.metric("gateway_calls_total")


def test_a_call_over_tls(house: House) -> None:
    context = house.authority.trusting()
    with (
        socket.create_connection(house.edge.tls, timeout=30, source_address=(carriers.TWILIO_HOST, 0)) as raw,
        context.wrap_socket(raw, server_hostname=edge.HOST) as stream,
    ):
        assert stream.version() in ("TLSv1.2", "TLSv1.3")
        with Peer(carriers.TWILIO_HOST) as peer:  # writes what the connection sends
            call = call_to(peer, house.edge)
            local = "{}:{}".format(*stream.getsockname())
            via = f"SIP/2.0/UDP {peer.hostport}", f"SIP/2.0/TLS {local}"
            routes = f"<sip:{peer.hostport};r2=on;lr>", f"<sip:{local};transport=tls;r2=on;lr>"
            invite = call.invite().decode().replace(*via).replace(*routes).encode()
            stream.sendall(invite)
            ok = _answer(stream)
            assert ok.status == 200
            dialog = call.dialog(ok)  # the edge has a route for each side: ours is the last to be written
            dialog.routes = ok.all("record-route")[: -len(call.record_routes)][::-1]
            assert "transport=tls" in dialog.routes[0]
            for method, cseq in (("ACK", call.cseq), ("BYE", call.cseq + 1)):
                text = dialog.build(method, cseq=cseq).decode()
                stream.sendall(text.replace(*via).encode())
            assert _answer(stream)["cseq"].endswith("BYE")
    for node in house.nodes:
        wait_until(lambda node=node: node.metric("gateway_calls_active") == 0, "the call is over")


def _answer(stream: ssl.SSLSocket) -> Message:
    """The next final response on a connection."""
    buffer = b""
    while True:
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            buffer += stream.recv(65535)
        head = read(buffer[: end + 4], ("", 0))
        size = end + 4 + int(head["content-length"])
        while len(buffer) < size:
            buffer += stream.recv(65535)
        message, buffer = read(buffer[:size], ("", 0)), buffer[size:]
        if message.status >= 200:
            return message


def test_a_node_that_drains_gets_no_new_calls(house: House, tmp_path: Path) -> None:
    draining, other = house.nodes
    house.drain(draining, ends=False)
    try:
        left = {f"sip:{other.sip[0]}:{other.sip[1]}"}
        wait_until(lambda: house.edge.taking_calls() == left, "the edge has seen it")
        before = house.calls()
        with place(house, tmp_path, 10) as caller:
            caller.succeed()
        now = house.calls()
        assert now[0] == before[0]
        assert now[1] == before[1] + 10
    finally:
        house.drain(draining, ends=True)
    wait_until(lambda: len(house.edge.taking_calls()) == 2, "it is back")


def test_a_killed_nodes_calls_go_to_the_other(house: House, tmp_path: Path) -> None:
    """The last of this file: it leaves one node. Calls begin while it is dead and the edge does not know."""
    dead, other = house.nodes
    before = other.metric("gateway_calls_total")
    os.kill(dead.pid, signal.SIGKILL)
    dead.exit_code()
    house.dead = dead
    with place(house, tmp_path, 12) as caller:
        caller.succeed()
    assert other.metric("gateway_calls_total") == before + 12

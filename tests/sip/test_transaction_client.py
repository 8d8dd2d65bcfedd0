"""Every transition of figures 5 and 6 (RFC 3261 §17.1, RFC 6026 §8.4), with the timers' values."""

from __future__ import annotations

import pytest

from gateway.sip.client_transaction import Client, InviteClient
from gateway.sip.flow import Flow
from gateway.sip.message import Request, Response, parse_message
from gateway.sip.request_writer import RequestWriter
from gateway.sip.transaction import State
from gateway.sip.transaction_layer import UDP_REQUEST_LIMIT
from tests.sip.rig import PEER, PEER_TCP, LayerRig, response

STEPS_BY_UDP = [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
"""Timer A: 0.5, 1, 2, 4, 8, 16 s after each other; Timer B at 32 s comes before the next."""

STEPS_CAPPED = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
"""Timer E: doubling up to T2 = 4 s."""


class ClientRig(LayerRig):
    """A client transaction and what its user heard."""

    def __init__(self, method: str, flow: Flow, body: bytes = b"") -> None:
        super().__init__()
        self.heard: list[int] = []
        self.failures: list[str] = []
        self.writer = RequestWriter(
            method,
            "sip:agent@192.0.2.10",
            branch="z9hG4bKours",
            from_="<sip:us@198.51.100.1>;tag=us",
            to="<sip:agent@192.0.2.10>",
            call_id="ours",
            cseq=1,
            routes=("<sip:192.0.2.10;lr>",),
            body=body,
        )
        start = self.layer.invite if method == "INVITE" else self.layer.request
        self.transaction: InviteClient | Client = start(
            self.writer, flow, lambda response: self.heard.append(response.status), self.failures.append
        )
        sent = parse_message(self.sink.sent[0][2])
        assert isinstance(sent, Request)
        self.request = sent

    def respond(self, status: int, tag: str = "agent") -> None:
        message = parse_message(response(self.request, status, tag=tag))
        assert isinstance(message, Response)
        assert self.layer.receive_response(message)

    @property
    def state(self) -> State:
        return self.transaction.state


def steps_until(rig: LayerRig, seconds: float) -> list[float]:
    """When something was sent again, in seconds since the start."""
    rig.sink.sent.clear()
    rig.advance(seconds)
    return [round(at - 100.0, 6) for at, _, _ in rig.sink.sent]


def into(rig: ClientRig, state: State) -> None:
    """Bring a fresh transaction into a state."""
    if state is State.PROCEEDING:
        rig.respond(180)
    elif state is State.COMPLETED:
        rig.respond(486)
    elif state is State.ACCEPTED:
        rig.respond(200)
    assert rig.state is state
    rig.sink.sent.clear()
    rig.heard.clear()


# state, status received, next state, told to the user, sent on the wire
INVITE_TRANSITIONS = [
    (State.CALLING, 100, State.PROCEEDING, True, []),
    (State.CALLING, 183, State.PROCEEDING, True, []),
    (State.CALLING, 200, State.ACCEPTED, True, []),
    (State.CALLING, 302, State.COMPLETED, True, ["ACK"]),
    (State.CALLING, 486, State.COMPLETED, True, ["ACK"]),
    (State.CALLING, 699, State.COMPLETED, True, ["ACK"]),
    (State.PROCEEDING, 100, State.PROCEEDING, True, []),
    (State.PROCEEDING, 180, State.PROCEEDING, True, []),
    (State.PROCEEDING, 202, State.ACCEPTED, True, []),
    (State.PROCEEDING, 300, State.COMPLETED, True, ["ACK"]),
    (State.PROCEEDING, 603, State.COMPLETED, True, ["ACK"]),
    (State.COMPLETED, 180, State.COMPLETED, False, []),
    (State.COMPLETED, 200, State.COMPLETED, False, []),
    (State.COMPLETED, 486, State.COMPLETED, False, ["ACK"]),
    (State.ACCEPTED, 180, State.ACCEPTED, False, []),
    (State.ACCEPTED, 200, State.ACCEPTED, True, []),
    (State.ACCEPTED, 486, State.ACCEPTED, False, []),
]


@pytest.mark.parametrize(("state", "status", "after", "told", "sent"), INVITE_TRANSITIONS)
def test_invite_client_transition(
    state: State, status: int, after: State, told: bool, sent: list[str]
) -> None:
    rig = ClientRig("INVITE", PEER)
    into(rig, state)
    rig.respond(status)
    assert rig.state is after
    assert rig.heard == ([status] if told else [])
    assert rig.methods() == sent
    assert rig.failures == []


NON_INVITE_TRANSITIONS = [
    (State.TRYING, 100, State.PROCEEDING, True),
    (State.TRYING, 200, State.COMPLETED, True),
    (State.TRYING, 404, State.COMPLETED, True),
    (State.PROCEEDING, 183, State.PROCEEDING, True),
    (State.PROCEEDING, 200, State.COMPLETED, True),
    (State.PROCEEDING, 500, State.COMPLETED, True),
    (State.COMPLETED, 100, State.COMPLETED, False),
    (State.COMPLETED, 200, State.COMPLETED, False),
    (State.COMPLETED, 486, State.COMPLETED, False),
]


@pytest.mark.parametrize(("state", "status", "after", "told"), NON_INVITE_TRANSITIONS)
def test_client_transition(state: State, status: int, after: State, told: bool) -> None:
    rig = ClientRig("OPTIONS", PEER)
    into(rig, state)
    rig.respond(status)
    assert rig.state is after
    assert rig.heard == ([status] if told else [])
    assert rig.sink.sent == []


# method, flow, state, retransmissions while waiting 40 s in it, when it ends, and how the user is told
CLOCKS = [
    ("INVITE", PEER, State.CALLING, STEPS_BY_UDP, 32.0, ["timeout"]),
    ("INVITE", PEER_TCP, State.CALLING, [], 32.0, ["timeout"]),
    ("INVITE", PEER, State.PROCEEDING, [], None, []),
    ("INVITE", PEER_TCP, State.PROCEEDING, [], None, []),
    ("INVITE", PEER, State.COMPLETED, [], 32.0, []),
    ("INVITE", PEER, State.ACCEPTED, [], 32.0, []),
    ("INVITE", PEER_TCP, State.ACCEPTED, [], 32.0, []),
    ("OPTIONS", PEER, State.TRYING, STEPS_CAPPED, 32.0, ["timeout"]),
    ("OPTIONS", PEER_TCP, State.TRYING, [], 32.0, ["timeout"]),
    ("OPTIONS", PEER, State.PROCEEDING, [0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5], 32.0, ["timeout"]),
    ("OPTIONS", PEER_TCP, State.PROCEEDING, [], 32.0, ["timeout"]),
    ("OPTIONS", PEER, State.COMPLETED, [], 5.0, []),
]


@pytest.mark.parametrize(("method", "flow", "state", "steps", "end", "failures"), CLOCKS)
def test_client_clock(
    method: str, flow: Flow, state: State, steps: list[float], end: float | None, failures: list[str]
) -> None:
    rig = ClientRig(method, flow)
    into(rig, state)
    if end is None:
        assert steps_until(rig, 1000.0) == steps
        assert rig.state is state
        return
    assert steps_until(rig, end - 0.001) == steps
    assert rig.state is state
    rig.advance(0.001)
    assert rig.state is State.TERMINATED
    assert rig.failures == failures
    rig.assert_empty()


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_over_a_reliable_transport_nothing_lingers_after_a_final_response(method: str) -> None:
    rig = ClientRig(method, PEER_TCP)
    rig.respond(500)
    assert rig.state is State.TERMINATED
    rig.assert_empty()


def test_timer_e_goes_on_at_t2_after_a_provisional_response_in_between() -> None:
    rig = ClientRig("OPTIONS", PEER)
    assert steps_until(rig, 1.0) == [0.5]
    rig.respond(100)
    assert steps_until(rig, 31.0) == [1.5, 5.5, 9.5, 13.5, 17.5, 21.5, 25.5, 29.5]
    assert rig.failures == ["timeout"]


def test_the_ack_of_a_refusal_repeats_branch_route_and_number_and_takes_the_tag() -> None:
    rig = ClientRig("INVITE", PEER)
    rig.sink.sent.clear()
    rig.respond(486, tag="t486")
    ack = parse_message(rig.sink.sent[0][2])
    assert isinstance(ack, Request)
    assert (ack.method, ack.uri) == ("ACK", rig.request.uri)
    assert ack.headers.get_all("Via") == rig.request.headers.get_all("Via")
    assert ack.headers.get_all("Route") == ["<sip:192.0.2.10;lr>"]
    assert (ack.cseq, ack.cseq_method) == (1, "ACK")
    assert (ack.from_tag, ack.to_tag, ack.call_id) == ("us", "t486", "ours")


def test_a_retransmission_is_the_same_bytes() -> None:
    rig = ClientRig("INVITE", PEER)
    rig.advance(0.5)
    first, again = rig.sink.sent
    assert first[1:] == again[1:]
    assert rig.sink.retransmissions["out"] == 1


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_a_transport_error_before_any_response_is_told_at_once(method: str) -> None:
    rig = ClientRig(method, PEER_TCP)
    rig.layer.transport_failed(PEER_TCP)
    assert rig.failures == ["transport"]
    assert rig.state is State.TERMINATED
    rig.assert_empty()


@pytest.mark.parametrize(("method", "state"), [("INVITE", State.PROCEEDING), ("OPTIONS", State.PROCEEDING)])
def test_a_transport_error_after_a_response_changes_nothing(method: str, state: State) -> None:
    """The peer has the request, and may answer on a new connection (§18.2.2)."""
    rig = ClientRig(method, PEER_TCP)
    into(rig, state)
    rig.layer.transport_failed(PEER_TCP)
    assert rig.state is state
    assert rig.failures == []


def test_a_transport_error_of_another_peer_changes_nothing() -> None:
    rig = ClientRig("INVITE", PEER)
    rig.layer.transport_failed(Flow("udp", "192.0.2.11", 5060))
    rig.layer.transport_failed(Flow("tcp", "192.0.2.10", 5060))
    assert rig.state is State.CALLING


def body_making(total: int) -> bytes:
    """A body that makes the INVITE exactly this long by UDP."""
    empty = ClientRig("INVITE", PEER).sink.sent[0][2]
    length = total - len(empty)
    return b"x" * (length - len(str(length)) + 1)


def test_a_request_that_fits_a_datagram_goes_by_udp() -> None:
    rig = ClientRig("INVITE", PEER, body_making(UDP_REQUEST_LIMIT))
    assert len(rig.sink.sent[0][2]) == UDP_REQUEST_LIMIT
    assert rig.sink.sent[0][1] == PEER


def test_a_larger_request_goes_by_tcp_to_the_same_place() -> None:
    rig = ClientRig("INVITE", PEER, body_making(UDP_REQUEST_LIMIT + 1))
    assert rig.sink.sent[0][1] == Flow("tcp", PEER.host, PEER.port)
    assert rig.request.via.transport == "TCP"
    assert steps_until(rig, 31.0) == []
    rig.respond(180)
    assert rig.state is State.PROCEEDING


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_when_tcp_is_refused_the_large_request_goes_by_udp_after_all(method: str) -> None:
    rig = ClientRig(method, PEER, b"x" * UDP_REQUEST_LIMIT)
    rig.advance(1.0)
    rig.sink.sent.clear()
    rig.layer.transport_failed(Flow("tcp", PEER.host, PEER.port, 9))
    assert rig.failures == []
    ((_, flow, data),) = rig.sink.sent
    again = parse_message(data)
    assert flow == PEER
    assert (again.via.transport, again.branch) == ("UDP", rig.request.branch)
    assert steps_until(rig, 2.0) == [1.5, 2.5]
    rig.layer.transport_failed(PEER)
    assert rig.failures == ["transport"]
    rig.assert_empty()


def test_an_abandoned_invite_counts_as_timed_out() -> None:
    rig = ClientRig("INVITE", PEER)
    into(rig, State.PROCEEDING)
    assert isinstance(rig.transaction, InviteClient)
    rig.transaction.abandon()
    assert rig.failures == ["timeout"]
    rig.assert_empty()


@pytest.mark.parametrize("state", [State.COMPLETED, State.ACCEPTED])
def test_an_invite_that_was_answered_cannot_be_abandoned(state: State) -> None:
    rig = ClientRig("INVITE", PEER)
    into(rig, state)
    assert isinstance(rig.transaction, InviteClient)
    rig.transaction.abandon()
    assert rig.state is state
    assert rig.failures == []


def test_a_response_finds_its_request_by_branch_and_method() -> None:
    rig = ClientRig("INVITE", PEER)
    cancel = rig.writer.cancel()
    heard: list[int] = []
    rig.layer.request(cancel, PEER, lambda response: heard.append(response.status), rig.failures.append)
    sent = parse_message(rig.sink.sent[-1][2])
    assert isinstance(sent, Request)
    answer = parse_message(response(sent, 200))
    assert isinstance(answer, Response)
    assert rig.layer.receive_response(answer)
    assert (heard, rig.heard) == ([200], [])


def test_a_response_to_nothing_is_not_taken() -> None:
    rig = ClientRig("INVITE", PEER)
    stray = parse_message(response(rig.request, 200).replace(b"z9hG4bKours", b"z9hG4bKother"))
    assert isinstance(stray, Response)
    assert not rig.layer.receive_response(stray)
    two_vias = parse_message(
        response(rig.request, 200).replace(b"\r\nFrom:", b"\r\nVia: SIP/2.0/UDP 192.0.2.9\r\nFrom:")
    )
    assert isinstance(two_vias, Response)
    assert not rig.layer.receive_response(two_vias)
    assert rig.heard == []

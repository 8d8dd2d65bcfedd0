"""Every transition of figures 7 and 8 (RFC 3261 §17.2, RFC 6026 §8.5), with the timers' values."""

from __future__ import annotations

import pytest

from gateway.sip.flow import Flow
from gateway.sip.message import Request, parse_message
from gateway.sip.response_path import ResponsePath
from gateway.sip.server_transaction import InviteServer, Server
from gateway.sip.transaction import State, server_key
from tests.sip.rig import PEER, PEER_TCP, LayerRig, request

STEPS_CAPPED = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
"""Timer G: doubling up to T2 = 4 s."""


class ServerRig(LayerRig):
    """A server transaction whose responses are their status as text."""

    def __init__(self, method: str, flow: Flow) -> None:
        super().__init__()
        key = ("z9hG4bKtheirs", "192.0.2.10", "5060", method)
        path = ResponsePath(flow, 5060)
        self.transaction: InviteServer | Server = (
            self.layer.serve_invite(key, path) if method == "INVITE" else self.layer.serve(key, method, path)
        )

    def respond(self, status: int) -> None:
        self.transaction.respond(status, str(status).encode())

    def into(self, state: State) -> None:
        """Bring a fresh transaction into a state."""
        if state is not self.transaction.initial:
            status = {State.PROCEEDING: 180, State.COMPLETED: 486, State.ACCEPTED: 200, State.CONFIRMED: 486}
            self.respond(status[state])
        elif isinstance(self.transaction, InviteServer):
            self.respond(180)
        if state is State.CONFIRMED:
            self.ack()
        assert self.transaction.state is state
        self.sink.sent.clear()

    def ack(self) -> None:
        assert isinstance(self.transaction, InviteServer)
        self.transaction.receive_ack()

    def sent(self) -> list[int]:
        return [int(data) for _, _, data in self.sink.sent]


# state, what happens, next state, what is sent
INVITE_TRANSITIONS = [
    (State.PROCEEDING, "INVITE", State.PROCEEDING, [180]),
    (State.PROCEEDING, 183, State.PROCEEDING, [183]),
    (State.PROCEEDING, 200, State.ACCEPTED, [200]),
    (State.PROCEEDING, 300, State.COMPLETED, [300]),
    (State.PROCEEDING, 486, State.COMPLETED, [486]),
    (State.PROCEEDING, "ACK", State.PROCEEDING, []),
    (State.COMPLETED, "INVITE", State.COMPLETED, [486]),
    (State.COMPLETED, "ACK", State.CONFIRMED, []),
    (State.COMPLETED, 180, State.COMPLETED, []),
    (State.COMPLETED, 200, State.COMPLETED, []),
    (State.CONFIRMED, "INVITE", State.CONFIRMED, []),
    (State.CONFIRMED, "ACK", State.CONFIRMED, []),
    (State.CONFIRMED, 486, State.CONFIRMED, []),
    (State.ACCEPTED, "INVITE", State.ACCEPTED, []),
    (State.ACCEPTED, "ACK", State.ACCEPTED, []),
    (State.ACCEPTED, 200, State.ACCEPTED, [200]),
    (State.ACCEPTED, 180, State.ACCEPTED, []),
    (State.ACCEPTED, 486, State.ACCEPTED, []),
]


@pytest.mark.parametrize(("state", "event", "after", "sent"), INVITE_TRANSITIONS)
def test_invite_server_transition(state: State, event: str | int, after: State, sent: list[int]) -> None:
    rig = ServerRig("INVITE", PEER)
    rig.into(state)
    if event == "INVITE":
        rig.transaction.receive_again()
    elif event == "ACK":
        rig.ack()
    else:
        assert isinstance(event, int)
        rig.respond(event)
    assert rig.transaction.state is after
    assert rig.sent() == sent


NON_INVITE_TRANSITIONS = [
    (State.TRYING, "again", State.TRYING, []),
    (State.TRYING, 100, State.PROCEEDING, [100]),
    (State.TRYING, 200, State.COMPLETED, [200]),
    (State.TRYING, 481, State.COMPLETED, [481]),
    (State.PROCEEDING, "again", State.PROCEEDING, [180]),
    (State.PROCEEDING, 183, State.PROCEEDING, [183]),
    (State.PROCEEDING, 200, State.COMPLETED, [200]),
    (State.COMPLETED, "again", State.COMPLETED, [486]),
    (State.COMPLETED, 200, State.COMPLETED, []),
    (State.COMPLETED, 100, State.COMPLETED, []),
]


@pytest.mark.parametrize(("state", "event", "after", "sent"), NON_INVITE_TRANSITIONS)
def test_server_transition(state: State, event: str | int, after: State, sent: list[int]) -> None:
    rig = ServerRig("BYE", PEER)
    rig.into(state)
    if isinstance(event, int):
        rig.respond(event)
    else:
        rig.transaction.receive_again()
    assert rig.transaction.state is after
    assert rig.sent() == sent


# method, flow, state, when something is sent again by itself, when it ends
CLOCKS = [
    ("INVITE", PEER, State.PROCEEDING, [], None),
    ("INVITE", PEER, State.COMPLETED, STEPS_CAPPED, 32.0),
    ("INVITE", PEER_TCP, State.COMPLETED, [], 32.0),
    ("INVITE", PEER, State.CONFIRMED, [], 5.0),
    ("INVITE", PEER, State.ACCEPTED, [], 32.0),
    ("INVITE", PEER_TCP, State.ACCEPTED, [], 32.0),
    ("BYE", PEER, State.TRYING, [], None),
    ("BYE", PEER, State.PROCEEDING, [], None),
    ("BYE", PEER, State.COMPLETED, [], 32.0),
]


@pytest.mark.parametrize(("method", "flow", "state", "steps", "end"), CLOCKS)
def test_server_clock(method: str, flow: Flow, state: State, steps: list[float], end: float | None) -> None:
    rig = ServerRig(method, flow)
    rig.into(state)
    rig.advance(1000.0 if end is None else end - 0.001)
    assert [round(at - 100.0, 6) for at, _, _ in rig.sink.sent] == steps
    assert rig.transaction.state is state
    if end is not None:
        rig.advance(0.001)
        assert rig.transaction.state is State.TERMINATED
        rig.assert_empty()


def test_over_a_reliable_transport_an_ack_or_a_final_response_ends_it_at_once() -> None:
    invite = ServerRig("INVITE", PEER_TCP)
    invite.respond(486)
    invite.ack()
    assert invite.transaction.state is State.TERMINATED
    invite.assert_empty()
    bye = ServerRig("BYE", PEER_TCP)
    bye.respond(200)
    assert bye.transaction.state is State.TERMINATED
    bye.assert_empty()


def test_a_lost_ack_does_not_restart_timer_h() -> None:
    rig = ServerRig("INVITE", PEER)
    rig.into(State.COMPLETED)
    for _ in range(4):
        rig.advance(7.0)
        rig.transaction.receive_again()
    rig.advance(4.0)
    assert rig.transaction.state is State.TERMINATED


def parsed(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


SAME = request()


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (request(), True),
        (request("ACK"), True),
        (request("CANCEL"), True),
        (request(cseq=9, call_id="whatever"), True),
        (request(branch="z9hG4bKcaller2"), False),
        (request(via="SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bKcaller1"), False),
        (request(via="SIP/2.0/UDP 192.0.2.11:5060;branch=z9hG4bKcaller1"), False),
        (request(via="SIP/2.0/UDP 192.0.2.10:5060;rport;branch=z9hG4bKcaller1"), True),
    ],
)
def test_requests_are_the_same_by_branch_and_sent_by(other: bytes, same: bool) -> None:
    assert (server_key(parsed(SAME), "INVITE") == server_key(parsed(other), "INVITE")) is same
    assert server_key(parsed(SAME), "INVITE") != server_key(parsed(SAME), "CANCEL")


OLD = "SIP/2.0/UDP 192.0.2.10:5060"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (request(via=OLD), True),
        (request("ACK", via=OLD, to_tag="ours"), True),
        (request(via=f"{OLD};branch=1"), False),
        (request(via=OLD, cseq=2), False),
        (request(via=OLD, from_tag="other"), False),
        (request(via=OLD, call_id="other"), False),
    ],
)
def test_a_peer_of_rfc_2543_is_known_by_its_dialog_and_via(other: bytes, same: bool) -> None:
    assert (server_key(parsed(request(via=OLD)), "INVITE") == server_key(parsed(other), "INVITE")) is same

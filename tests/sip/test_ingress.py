"""Who is heard on the carriers' side, and at what cost."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip import ingress
from gateway.sip.digest_client import DigestClient
from gateway.sip.digest_server import MAX_JUDGED_A_SECOND, Authenticator
from gateway.sip.flow import Flow
from gateway.sip.ingress import CalledHosts, CarrierIngress
from gateway.sip.message import Request, Response, parse_message
from tests.sip.rig import PEER, FakeClock, request, response

STRANGER = Flow("udp", "203.0.113.9", 5060)


def message(method: str, to: str = "To: <sip:+14155550100@example.com>") -> bytes:
    return f"{method} sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n{to}\r\nCall-ID: 1\r\n\r\n".encode()


class Door:
    """Fulfils `gateway.sip.ingress.Core`."""

    def __init__(self, *, reject_unknown: bool = False) -> None:
        self.delivered: list[tuple[bytes, object]] = []
        self.refused: list[int] = []
        self.drops: list[str] = []
        self.asked: list[str] = []
        self.within = self.may_refuse = True
        self.called = CalledHosts()
        self.ingress = CarrierIngress(
            self,
            lambda host: "carrier" if host == PEER.host else None,
            self.called,
            within_rate=self._within_rate,
            may_refuse=lambda: self.may_refuse,
            reject_unknown=reject_unknown,
        )

    def _within_rate(self, host: str) -> bool:
        self.asked.append(host)
        return self.within

    def deliver(self, data: bytes, flow: Flow, peer: object) -> None:
        self.delivered.append((data, peer))

    def refuse(self, data: bytes, flow: Flow, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        self.refused.append(status)

    def flow_failed(self, flow: Flow, reason: str) -> None: ...

    def dropped(self, reason: str) -> None:
        self.drops.append(reason)


def test_a_stranger_is_dropped_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door()
    monkeypatch.setattr(ingress, "parse_message", lambda data: pytest.fail("it was parsed"))
    for data in (message("INVITE"), message("OPTIONS"), b"\0" * 1000, b"SIP/2.0 200 OK\r\n\r\n"):
        door.ingress.message_received(data, STRANGER)
    assert door.drops == ["unknown_source"] * 4
    assert not (door.delivered or door.refused or door.asked)


def test_strangers_are_told_no_only_so_often() -> None:
    door = Door(reject_unknown=True)
    door.ingress.message_received(message("INVITE"), STRANGER)
    door.may_refuse = False
    door.ingress.message_received(message("INVITE"), STRANGER)
    assert door.refused == [403]
    assert door.drops == ["unknown_source"] * 2


def test_a_source_above_its_rate_begins_nothing_and_goes_on_with_everything() -> None:
    door = Door()
    door.within = False
    going_on = [
        b"SIP/2.0 200 OK\r\n\r\n",
        message("ACK"),
        message("BYE"),
        message("CANCEL"),
        message("INVITE", "To: <sip:x>;tag=1"),
        message("INFO", "t:<sip:x> ;TAG = 1"),
        message("INVITE", "to : <sip:x>;x=y;tag=1"),
    ]
    for data in going_on:
        door.ingress.message_received(data, PEER)
    assert [data for data, _ in door.delivered] == going_on
    for data in (
        message("INVITE"),
        message("OPTIONS"),
        message("INVITE", "From: <sip:x>;tag=1\r\nTo: <sip:y>"),
    ):
        door.ingress.message_received(data, PEER)
    assert door.refused == [503] * 3
    door.may_refuse = False
    door.ingress.message_received(message("INVITE"), PEER)
    assert door.refused == [503] * 3
    assert door.drops == ["source_rate"] * 4


def test_only_what_begins_something_is_counted() -> None:
    door = Door()
    for method in ("ACK", "BYE", "CANCEL", "UPDATE", "PRACK"):
        door.ingress.message_received(message(method), PEER)
    assert not door.asked
    door.ingress.message_received(message("INVITE"), PEER)
    assert door.asked == [PEER.host]


@given(st.binary(max_size=300))
def test_nothing_raises(data: bytes) -> None:
    for reject in (False, True):
        door = Door(reject_unknown=reject)
        door.within = False
        door.ingress.message_received(data, PEER)
        door.ingress.message_received(data, STRANGER)
        assert len(door.delivered) + len(door.drops) == 2


EDGE = Flow("udp", "10.0.0.5", 5060)


class EdgeDoor(Door):
    """A door that has an edge proxy before it."""

    def __init__(self) -> None:
        super().__init__()
        self.away: list[tuple[str, str]] = []
        self.ingress = CarrierIngress(
            self,
            lambda host: "carrier" if host == PEER.host else None,
            self.called,
            within_rate=self._within_rate,
            may_refuse=lambda: self.may_refuse,
            reject_unknown=False,
            on_turned_away=lambda host, reason: self.away.append((host, reason)),
            is_edge=lambda host: host == EDGE.host,
        )


def named(*sources: str, method: str = "INVITE") -> bytes:
    return message(method, "\r\n".join(["To: <sip:x>", *(f"X-Edge-Source: {each}" for each in sources)]))


def test_an_edge_names_the_source() -> None:
    door = EdgeDoor()
    door.ingress.message_received(named(PEER.host), EDGE)
    assert door.delivered == [(named(PEER.host), "carrier")]
    assert door.asked == [PEER.host]
    assert door.ingress.knows(EDGE.host)
    assert not door.ingress.knows(STRANGER.host)


def test_whoever_is_no_edge_names_nobody() -> None:
    door = EdgeDoor()
    door.ingress.message_received(named(PEER.host), STRANGER)
    assert door.drops == ["unknown_source"]
    door.ingress.message_received(named(STRANGER.host), PEER)  # a carrier that writes such a header itself
    assert door.asked == [PEER.host]


@pytest.mark.parametrize(
    "data",
    [
        named(),
        named(PEER.host, PEER.host),
        named("carrier.example.com"),
        named(""),
        named(PEER.host) + f"v=0\r\nx-edge-source: {PEER.host}\r\n".encode(),
        named(PEER.host) + f"\rX-Edge-Source:{PEER.host}".encode(),
    ],
    ids=["none", "two", "a name", "empty", "another in the body", "another behind a bare CR"],
)
def test_an_edge_that_names_nobody_or_several_is_told_so(data: bytes) -> None:
    door = EdgeDoor()
    door.ingress.message_received(data, EDGE)
    assert (door.delivered, door.refused) == ([], [403])
    assert door.away == [(EDGE.host, "unnamed_source")]


def test_a_stranger_behind_the_edge_is_refused_aloud() -> None:
    door = EdgeDoor()
    door.ingress.message_received(named(STRANGER.host), EDGE)
    assert (door.delivered, door.refused) == ([], [403])  # silence would look like a dead node
    assert door.away == [(STRANGER.host, "unknown_source")]


def test_a_source_above_its_rate_is_refused_behind_the_edge_as_well() -> None:
    door = EdgeDoor()
    door.within = False
    door.ingress.message_received(named(PEER.host), EDGE)
    assert (door.delivered, door.refused, door.away) == ([], [503], [(PEER.host, "source_rate")])


def test_what_goes_on_and_the_edges_own_questions_need_no_name() -> None:
    door = EdgeDoor()
    door.within = False
    heard = [
        b"SIP/2.0 200 OK\r\n\r\n",
        message("ACK"),
        message("CANCEL"),
        message("BYE", "To: <sip:x>;tag=1"),
        message("INVITE", "To: <sip:x>;tag=1"),
        message("OPTIONS"),
    ]
    for data in heard:
        door.ingress.message_received(data, EDGE)
    assert [data for data, _ in door.delivered] == heard
    assert not door.asked


@given(st.binary(max_size=300))
def test_nothing_that_an_edge_sends_raises(data: bytes) -> None:
    door = EdgeDoor()
    door.ingress.message_received(data, EDGE)
    door.ingress.message_received(b"INVITE \r\nX-Edge-Source:" + data, EDGE)
    assert len(door.delivered) + len(door.refused) == 2


class DigestDoor(Door):
    """A door at which strangers may know a password."""

    def __init__(self) -> None:
        super().__init__()
        numbers = itertools.count(1)

        def tokens() -> str:
            return f"{next(numbers):016x}"

        self.client = DigestClient("alice", "a password", tokens)
        self.challenges: list[tuple[tuple[str, str], ...]] = []
        self.clock = FakeClock()
        self.ingress = CarrierIngress(
            self,
            lambda host: None,
            self.called,
            within_rate=self._within_rate,
            may_refuse=lambda: self.may_refuse,
            reject_unknown=True,
            authenticator=Authenticator(
                "example.com",
                ("MD5",),
                bytes(32),
                lambda name: ("trunk", "a password") if name == "alice" else None,
                lambda: True,
                self.clock,
                tokens,
            ),
        )

    def refuse(self, data: bytes, flow: Flow, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        super().refuse(data, flow, status, headers)
        self.challenges.append(headers)

    def proves_itself(self) -> bytes:
        """An INVITE with what its challenge asks for."""
        self.ingress.message_received(request(), STRANGER)
        asked = parse_message(request())
        assert isinstance(asked, Request)
        extra = "\r\n".join(f"{name}: {value}" for name, value in self.challenges[-1])
        challenge = parse_message(response(asked, 401, extra=extra))
        assert isinstance(challenge, Response)
        self.client.challenged(challenge)
        ((name, value),) = self.client.headers("INVITE", asked.uri)
        return request(extra=f"{name}: {value}")


def test_a_stranger_who_knows_the_password_is_heard_and_so_is_what_it_goes_on_with() -> None:
    door = DigestDoor()
    door.ingress.message_received(message("ACK"), STRANGER)
    invite = door.proves_itself()
    assert (door.refused, door.drops) == ([401], ["unknown_source", "challenged"])
    door.ingress.message_received(invite, STRANGER)
    going_on = [message("ACK"), message("INFO", "To: <sip:x>;tag=1")]
    for data in going_on:
        door.ingress.message_received(data, STRANGER)
    assert door.delivered == [(data, "trunk") for data in (invite, *going_on)]


def test_strangers_who_prove_nothing_are_dropped() -> None:
    door = DigestDoor()
    for data in (b"nonsense", b"SIP/2.0 200 OK\r\n\r\n", message("OPTIONS")):
        door.ingress.message_received(data, STRANGER)
    assert not (door.delivered or door.refused)
    assert len(door.drops) == 3


def test_only_so_many_strangers_are_judged_in_a_second() -> None:
    door = DigestDoor()
    for _ in range(MAX_JUDGED_A_SECOND + 1):
        door.ingress.message_received(b"INVITE nonsense", STRANGER)
    assert door.drops[-1] == "digest_flood" != door.drops[-2]


def test_a_host_that_we_called_answers_though_it_is_a_stranger() -> None:
    door = Door()
    door.called.add(STRANGER.host)
    door.ingress.message_received(b"SIP/2.0 200 OK\r\n\r\n", STRANGER)
    assert door.delivered == [(b"SIP/2.0 200 OK\r\n\r\n", None)]

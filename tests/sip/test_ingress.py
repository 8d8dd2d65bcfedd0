"""Who is heard on the carriers' side, and at what cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip import ingress
from gateway.sip.flow import Flow
from gateway.sip.ingress import CalledHosts, CarrierIngress
from tests.sip.rig import PEER

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

from __future__ import annotations

from gateway.sip.handshakes import (
    MAX_HANDSHAKES,
    MAX_HANDSHAKES_A_SOURCE,
    MAX_STRANGERS,
    STRANGERS_A_SECOND,
    HandshakeGate,
)
from tests.sip.rig import FakeClock


def test_one_address_holds_no_more_than_its_share() -> None:
    gate = HandshakeGate(FakeClock())
    assert all(gate.enter("192.0.2.1", known=True) for _ in range(MAX_HANDSHAKES_A_SOURCE))
    assert not gate.enter("192.0.2.1", known=True)
    assert gate.enter("192.0.2.2", known=True)
    gate.leave("192.0.2.1", known=True)
    assert gate.enter("192.0.2.1", known=True)


def test_all_together_hold_no_more_than_the_limit() -> None:
    gate = HandshakeGate(FakeClock())
    assert all(gate.enter(f"192.0.2.{number}", known=True) for number in range(MAX_HANDSHAKES))
    assert not gate.enter("198.51.100.1", known=True)


def test_strangers_have_a_rate_and_leave_room_for_carriers() -> None:
    clock = FakeClock()
    gate = HandshakeGate(clock)
    begun = sum(gate.enter(f"198.51.100.{number}", known=False) for number in range(100))
    assert begun == STRANGERS_A_SECOND
    clock.now += 60
    begun += sum(gate.enter(f"203.0.113.{number}", known=False) for number in range(100))
    assert begun == MAX_STRANGERS
    assert gate.enter("192.0.2.1", known=True)
    gate.leave("198.51.100.0", known=False)
    assert gate.enter("203.0.113.200", known=False)

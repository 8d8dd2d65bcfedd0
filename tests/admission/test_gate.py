from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from gateway.admission.carriers import Carrier
from gateway.admission.gate import RULES, CallGate
from gateway.admission.limits import AdmissionLimits, Refusal
from gateway.admission.overload import MAX_RETRY_AFTER, OverloadControl

TWILIO = Carrier("twilio", (ip_network("192.0.2.0/24"),))
SLOW = Carrier("slow", (ip_network("198.51.100.0/24"),), calls_per_second=2)


class Door:
    def __init__(self, rate: float = 100) -> None:
        self.now = 0.0
        self.active = 0
        self.limits = AdmissionLimits(10, routes_loaded=True)
        self.overload = OverloadControl(0.2, 0.1)
        self.refused: list[tuple[str, str]] = []
        self.gate = CallGate(
            self.limits,
            self.overload,
            rate=rate,
            active_calls=lambda: self.active,
            clock=lambda: self.now,
            on_refused=lambda carrier, rule: self.refused.append((carrier, rule)),
        )

    def refusal(self, carrier: Carrier = TWILIO) -> Refusal:
        refusal = self.gate.refusal(carrier)
        assert refusal is not None
        return refusal


def test_a_carrier_above_its_rate_is_told_when_to_come_again() -> None:
    door = Door()
    assert [door.gate.refusal(SLOW) for _ in range(4)] == [None] * 4
    refusal = door.refusal(SLOW)
    assert (refusal.status, refusal.rule, refusal.retry_after) == (503, "carrier_rate", 1)
    assert door.gate.refusal(TWILIO) is None  # has its own
    door.now += refusal.retry_after
    assert door.gate.refusal(SLOW) is None
    assert door.refused == [("slow", "carrier_rate")]


def test_reading_the_carriers_again_gives_no_new_burst_unless_the_rate_has_changed() -> None:
    door = Door()
    for _ in range(4):
        door.gate.refusal(SLOW)
    assert door.gate.refusal(replace(SLOW, documentation="https://example.com")) is not None
    assert door.gate.refusal(replace(SLOW, calls_per_second=3.0)) is None


def test_a_full_node_says_when_there_is_room() -> None:
    door = Door()
    door.active = 12
    assert door.refusal().retry_after == MAX_RETRY_AFTER
    for _ in range(500):
        door.overload.ended()
        door.overload.measured(0.0)  # ten calls end each second
    assert door.refusal().retry_after < 3
    assert door.refusal().rule == "max_active_calls"
    door.active = 9
    assert door.gate.refusal(TWILIO) is None


def test_an_overloaded_node_refuses_its_share() -> None:
    door = Door(rate=1e6)
    for _ in range(50):
        door.gate.refusal(TWILIO)
        door.overload.measured(1.0)
    refused = [door.gate.refusal(TWILIO) for _ in range(20)]
    assert {refusal.rule for refusal in refused if refusal} == {"overload"}
    assert refused.count(None) <= 3  # MIN_SHARE
    assert {rule for _, rule in door.refused} <= set(RULES)

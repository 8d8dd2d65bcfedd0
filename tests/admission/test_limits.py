from __future__ import annotations

import pytest

from gateway.admission.limits import AdmissionLimits


@pytest.mark.parametrize(
    ("limits", "active", "rule"),
    [
        (AdmissionLimits(routes_loaded=True), 10_000, None),
        (AdmissionLimits(2, routes_loaded=True), 1, None),
        (AdmissionLimits(2, routes_loaded=True), 2, "max_active_calls"),
        (AdmissionLimits(2, routes_loaded=True), 3, "max_active_calls"),
        (AdmissionLimits(), 0, "no_routes"),
        (AdmissionLimits(2), 2, "no_routes"),
        (AdmissionLimits(draining=True), 0, "draining"),
        (AdmissionLimits(2, draining=True, routes_loaded=True), 2, "draining"),
    ],
)
def test_the_next_call(limits: AdmissionLimits, active: int, rule: str | None) -> None:
    refusal = limits.refusal(active)
    assert (refusal.rule if refusal else None) == rule


def test_a_full_node_is_ready_and_a_draining_one_is_not() -> None:
    limits = AdmissionLimits(1, routes_loaded=True)
    assert limits.refusal(1) is not None
    assert limits.unready() is None
    limits.draining = True
    refusal = limits.unready()
    assert refusal is not None
    assert refusal.rule == "draining"


def test_every_refusal_makes_the_carrier_move_on_and_says_why() -> None:
    for limits in (AdmissionLimits(draining=True), AdmissionLimits(), AdmissionLimits(0, routes_loaded=True)):
        refusal = limits.refusal(0)
        assert refusal is not None
        assert refusal.status == 503
        headers = dict(refusal.headers)
        assert int(headers["Retry-After"]) == refusal.retry_after > 0
        assert headers["Reason"] == f'SIP;cause=503;text="{refusal.reason}"'

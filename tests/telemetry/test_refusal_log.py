from __future__ import annotations

from structlog.testing import capture_logs

from gateway.telemetry.refusal_log import INTERVAL, RefusalLog


def test_a_flood_of_refusals_is_a_line_now_and_then() -> None:
    now, counted = 0.0, 0

    def count(carrier: str, rule: str) -> None:
        nonlocal counted
        counted += 1

    refusals = RefusalLog(count, lambda: now)
    with capture_logs() as lines:
        refusals.tell()
        for _ in range(100):
            refusals("twilio", "overload")
        refusals("telnyx", "carrier_rate")
        now += INTERVAL
        refusals.tell()
        refusals.tell()
    assert counted == 101
    told = [(line["carrier"], line["rule"], line["refusals"]) for line in lines]
    assert told == [("twilio", "overload", 1), ("twilio", "overload", 99), ("telnyx", "carrier_rate", 1)]

from __future__ import annotations

import gc

from gateway.telemetry.gc_pauses import GcPauses
from gateway.telemetry.metrics import Metrics


def test_each_collection_is_timed_until_it_is_stopped() -> None:
    metrics = Metrics()
    pauses = GcPauses(metrics.gc_pause)
    pauses.start()
    try:
        gc.collect(1)
        gc.collect()
    finally:
        pauses.stop()
        pauses.stop()
    gc.collect()
    for generation, least in ("1", 1), ("2", 1):
        count = metrics.registry.get_sample_value(
            "gateway_gc_pause_seconds_count", {"generation": generation}
        )
        assert count is not None and count >= least
    assert metrics.registry.get_sample_value("gateway_gc_pause_seconds_count", {"generation": "2"}) == 1
    assert metrics.registry.get_sample_value("gateway_gc_pause_seconds_sum", {"generation": "2"}) > 0

"""What is said of a Redis in trouble: once, by its name, and that it is over."""

from __future__ import annotations

import structlog
from redis.exceptions import ReadOnlyError

from gateway.redis_watch import RedisWatch
from gateway.telemetry.metrics import Metrics
from routing.nodes import Neighbours

WELL = Neighbours(1, 0, "epoch", 1)


def test_each_trouble_is_said_once_and_that_it_is_over() -> None:
    metrics = Metrics()
    watch = RedisWatch(metrics)

    def shown() -> set[str]:
        samples = metrics.redis_trouble.collect()[0].samples
        return {sample.labels["kind"] for sample in samples if sample.value}

    with structlog.testing.capture_logs() as logs:
        watch.answered(WELL, 0.001)
        for _ in range(3):
            watch.failed(ReadOnlyError("READONLY You can't write against a read only replica."))
        assert shown() == {"read_only"}
        watch.failed(OSError("refused"))
        assert shown() == {"away"}
        watch.answered(Neighbours(1, 0, "", 0), 0.001)
        assert shown() == {"empty"}
        watch.answered(WELL, 0.5)
        watch.answered(WELL, 0.5)
        assert shown() == {"slow"}
        watch.answered(WELL, 0.001)
        watch.answered(WELL, 0.5)  # once is nothing
        watch.answered(WELL, 0.001)
        assert shown() == set()
    told = [(each["event"], each.get("kind", "")) for each in logs]
    assert told == [
        *(("Redis is in trouble", kind) for kind in ("read_only", "away", "empty", "slow")),
        ("Redis is well again", ""),
    ]
    assert all(each["fix"] for each in logs if "kind" in each)

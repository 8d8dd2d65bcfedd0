"""Redis's clock, carried on from one word of it to the next."""

from __future__ import annotations

from routing.redis_clock import RedisClock


def test_our_own_clock_counts_until_redis_was_heard_and_never_again() -> None:
    now, wall = [10.0], [5_000.0]
    clock = RedisClock(lambda: now[0], lambda: wall[0])
    assert clock.now() == 5_000.0
    clock.heard(90_000.0)
    assert clock.now() == 90_000.0
    now[0], wall[0] = 12.5, 1.0  # somebody sets it
    assert clock.now() == 90_002.5
    clock.heard(90_002.4)
    assert clock.now() == 90_002.4

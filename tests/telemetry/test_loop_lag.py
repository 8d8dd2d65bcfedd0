"""The event loop's lag is seen when somebody holds the loop."""

from __future__ import annotations

import asyncio
import time

from gateway.telemetry.loop_lag import LoopLagMonitor


async def test_a_held_loop_is_reported_and_a_stopped_monitor_is_silent() -> None:
    seen: list[float] = []
    monitor = LoopLagMonitor(seen.append, interval=0.01)
    monitor.start()
    await asyncio.sleep(0.03)
    held = time.monotonic()
    while time.monotonic() - held < 0.06:
        pass
    await asyncio.sleep(0.02)
    monitor.stop()
    monitor.stop()
    assert max(seen) > 0.03
    count = len(seen)
    await asyncio.sleep(0.03)
    assert len(seen) == count

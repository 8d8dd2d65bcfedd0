"""`voice-gateway drain`: new calls go elsewhere, the others go on to their end."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from gateway.cli.api_client import ApiClient, ApiTarget
from gateway.cli.gateway_client import with_gateway
from gateway.cli.output import complain, say

LOOK_SECONDS: Final = 1.0
"""Between looks at the calls that are left."""


def run(target: ApiTarget, *, undo: bool, wait: bool, timeout: float) -> int:
    """Drain, or take calls again; 1 if time was up before the last call was over. Raises UsageError."""

    async def work(api: ApiClient) -> Any:
        if undo:
            return await api.request("DELETE", "/drain")
        state = await api.request("POST", "/drain")
        say(f"{state['node']} takes no new calls; {state['calls']} go on.")
        deadline, told = time.monotonic() + timeout, state["calls"]
        while wait and state["calls"] and time.monotonic() < deadline:
            await asyncio.sleep(min(LOOK_SECONDS, max(0.0, deadline - time.monotonic())))
            state = await api.request("GET", "/drain")
            if state["calls"] != told:
                told = state["calls"]
                say(f"{told} calls left")
        return state

    state = with_gateway(target, work)
    if undo:
        say(f"{state['node']} takes new calls.")
        return 0
    if wait and state["calls"]:
        complain(f"{state['calls']} calls still go on after {timeout:g} s; the gateway goes on draining")
        return 1
    return 0

"""Waiting for something that is no event, without turning a deaf ear to the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from gateway.destinations.base import Call
from gateway.sip.events import ReinviteReceived

T = TypeVar("T")


async def attended(call: Call, work: Awaitable[T], deadline: float) -> T:
    """The result of `work`, which is cancelled when it is not there by `deadline`.

    Raises:
        TimeoutError: the deadline passed.
        CallerLeft: the caller did not wait for it.
        Exception: whatever `work` raises.

    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(call.deliver)
    try:
        while not task.done():
            event = await call.next_event(deadline)
            if event is None:
                raise TimeoutError
            if isinstance(event, ReinviteReceived):
                event.leg.refuse_reinvite(491)
    finally:
        if not task.cancel() and not task.cancelled():
            task.exception()  # nobody else may ask for it
    return task.result()

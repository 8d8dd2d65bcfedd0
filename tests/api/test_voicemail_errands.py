from __future__ import annotations

import asyncio
import contextlib

from api.voicemail_errands import VoicemailErrands


class SwallowingErrands(VoicemailErrands):
    """One attempt under way loses its cancellation, as `wait_for` of Python 3.11 does when the answer comes with it."""

    def __init__(self) -> None:
        self.under_way = asyncio.Event()

    async def do_one(self) -> bool:
        self.under_way.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return True


async def test_a_cancellation_that_an_attempt_swallowed_ends_them_all_the_same() -> None:
    errands = SwallowingErrands()
    running = asyncio.create_task(errands.run())
    await errands.under_way.wait()
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=5)
    running.cancel()
    assert done

"""How the office asks its workers: each over its own unix socket, all at once, and never for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import aiohttp
import msgspec

from gateway.admission.doorkeeper import TurnedAway
from gateway.web.console.desk import LiveRow
from gateway.worker_web import State, Successors
from gateway.workers.slots import web_socket
from gateway.workers.totals import Family
from routing.call_records import CallShown, TraceRung

ASK_SECONDS: Final = 2.0
"""For a worker to answer; Prometheus gives a scrape ten, a person who looks at a page fewer."""

TRACE_SECONDS: Final = 20.0
"""For a trace to be put together out of what is on disk."""

FAILURES: Final = (aiohttp.ClientError, OSError, TimeoutError, msgspec.MsgspecError)
"""What asking a worker may raise, besides `WorkerRefusedError`: it is not there, or does not keep up."""

T = TypeVar("T")


class WorkerRefusedError(OSError):
    """A worker answered that it cannot; the message says why."""


class WorkerClient:
    """One worker, as the office asks it.

    Args:
        directory: of the sockets.
        slot: of the worker.

    """

    def __init__(self, directory: Path, slot: int) -> None:
        self.slot = slot
        self.path = web_socket(directory, slot)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Let go of its connections. Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def state(self) -> State:
        """How it does. Raises one of `FAILURES`, as all of these."""
        return await self._ask("GET", "/state", State)

    async def samples(self) -> list[Family]:
        """What it has counted."""
        return await self._ask("GET", "/samples", list[Family])

    async def live(self) -> list[CallShown]:
        """Its calls."""
        return await self._ask("GET", "/calls", list[CallShown])

    async def rows(self) -> list[LiveRow]:
        """The same as the console lists them."""
        return await self._ask("GET", "/rows", list[LiveRow])

    async def find(self, call_id: str) -> CallShown | None:
        """A live call of its."""
        status, body = await self._request("GET", f"/calls/{call_id}")
        return None if status == 404 else msgspec.msgpack.decode(body, type=CallShown)

    async def hang_up(self, call_id: str) -> bool:
        """End a call; False if it is not there."""
        status, _ = await self._request("DELETE", f"/calls/{call_id}")
        return status == 204

    async def drain(self, draining: bool) -> None:
        """Take no new calls, or take them again."""
        await self._request("POST" if draining else "DELETE", "/drain")

    async def reload(self) -> None:
        """Read carriers and certificates again."""
        await self._request("POST", "/reload", seconds=TRACE_SECONDS)

    async def begin(self) -> None:
        """Take new calls: those before it do not any more."""
        await self._request("POST", "/begin")

    async def retire(self, successors: Sequence[int]) -> None:
        """Let those have new calls, and finish the others."""
        await self._request("POST", "/retire", msgspec.msgpack.encode(Successors(list(successors))))

    async def away(self) -> list[TurnedAway]:
        """Whom it has turned away lately."""
        return await self._ask("GET", "/away", list[TurnedAway])

    async def trace(self, call: CallShown) -> list[TraceRung]:
        """What happened in a call that it has, or had."""
        return await self._ask("POST", "/trace", list[TraceRung], call)

    async def trace_text(self, call: CallShown) -> str:
        """The same for people."""
        return await self._ask("POST", "/trace.txt", str, call)

    async def trace_capture(self, call: CallShown) -> bytes:
        """Its packets."""
        return await self._ask("POST", "/trace.pcap", bytes, call)

    async def forward(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        seconds: float = ASK_SECONDS,
    ) -> tuple[int, bytes]:
        """Hand a request on as it came; the status and the body of its answer."""
        return await self._request(method, path, body, seconds=seconds, headers=headers)

    async def _ask(self, method: str, path: str, kind: type[T], call: CallShown | None = None) -> T:
        body = b"" if call is None else msgspec.msgpack.encode(call)
        seconds = ASK_SECONDS if call is None else TRACE_SECONDS
        _, answer = await self._request(method, path, body, seconds=seconds)
        return msgspec.msgpack.decode(answer, type=kind)

    async def _request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        seconds: float = ASK_SECONDS,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.path)))
        async with (
            asyncio.timeout(seconds),
            self._session.request(method, f"http://worker{path}", data=body, headers=headers) as answer,
        ):
            read = await answer.read()
            if answer.status >= 500:
                raise WorkerRefusedError(read.decode(errors="replace") or f"status {answer.status}")
            return answer.status, read


async def of_each(
    workers: Sequence[WorkerClient],
    ask: Callable[[WorkerClient], Awaitable[T]],
    failed: Callable[[WorkerClient, BaseException], None] = lambda worker, error: None,
) -> list[tuple[WorkerClient, T]]:
    """Ask all at once; who does not answer in time is left out, and told of."""

    async def one(worker: WorkerClient) -> T:
        return await ask(worker)

    answers = await asyncio.gather(*(one(worker) for worker in workers), return_exceptions=True)
    found: list[tuple[WorkerClient, T]] = []
    for worker, answer in zip(workers, answers, strict=True):
        if isinstance(answer, FAILURES):
            failed(worker, answer)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found.append((worker, answer))
    return found

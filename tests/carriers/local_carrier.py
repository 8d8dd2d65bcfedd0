"""A carrier's REST API on loopback: it keeps state, checks every request and response, and fails to order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from aiohttp import web

from tests.carriers.descriptions import Description, Operation
from tests.carriers.faults import Fault

PATIENCE: Final = 30.0
"""Seconds that a silent carrier keeps a connection open: longer than anybody waits for it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived. body: decoded JSON, or a form as a mapping of texts; None for none."""

    operation: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any


class Refusal(Exception):
    """The carrier says no. body: as it says it."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


@dataclass(slots=True)
class LocalCarrier:
    """What the carriers' servers have in common. A carrier adds its state, and one method an operation.

    asked: every request in order, also those that met a fault.
    violations: requests and responses that are not as the carrier describes them; a test ends with none.
    unseen: how many listings something new is missing from, as at carriers that copy their data later.
    """

    description: Description
    asked: list[Asked] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    unseen: int = 0
    address: str = ""
    _faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    _hidden: dict[str, int] = field(default_factory=dict)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def fail(self, operation: str, fault: Fault) -> None:
        """Let the next requests for an operation, named as in the description, meet a fault."""
        assert operation in self.description.operations, f"{operation} is not described"
        self._faults[operation].append(fault)

    def requests(self, operation: str) -> list[Asked]:
        """Those for one operation."""
        return [each for each in self.asked if each.operation == operation]

    def changes(self) -> list[str]:
        """The names of all requests that are no mere questions."""
        return [each.operation for each in self.asked if not each.operation.startswith("GET ")]

    def hide(self, identity: str) -> None:
        """Something new is not in the next listings."""
        if self.unseen:
            self._hidden[identity] = self.unseen

    def visible(self, identities: list[str]) -> list[str]:
        """Those of a listing's that it shows; each listing brings the hidden ones nearer."""
        shown = [each for each in identities if each not in self._hidden]
        for each in identities:
            if each in self._hidden:
                self._hidden[each] -= 1
                if self._hidden[each] <= 0:
                    del self._hidden[each]
        return shown

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve on a free port of loopback; yields the address."""
        self._stopped = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.address = f"http://{host}:{port}"
        try:
            yield self.address
        finally:
            self._stopped.set()
            await runner.cleanup()

    @contextlib.contextmanager
    def running_in_a_thread(self) -> Iterator[str]:
        """The same for tests that have no event loop."""
        started, ended = threading.Event(), threading.Event()

        async def serve() -> None:
            async with self.running():
                started.set()
                while not ended.is_set():  # noqa: ASYNC110 - the other thread has no event loop to tell it by
                    await asyncio.sleep(0.02)

        thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        thread.start()
        assert started.wait(PATIENCE), "the local carrier did not start"
        try:
            yield self.address
        finally:
            ended.set()
            thread.join(PATIENCE)

    def check(self) -> None:
        """Fail if anybody broke the description."""
        assert not self.violations, "\n".join(self.violations)

    def authorize(self, request: web.Request) -> None:
        """Raise Refusal for credentials that are not the account's."""
        raise NotImplementedError

    def invalid(self, faults: list[str]) -> Refusal:
        """How the carrier refuses a request that is not as described."""
        raise NotImplementedError

    def not_found(self, path: str) -> Refusal:
        """How the carrier says that there is nothing."""
        raise NotImplementedError

    def handlers(self) -> Mapping[str, Callable[[Asked], tuple[int, Any]]]:
        """What grants each operation: status and body, or Refusal is raised."""
        raise NotImplementedError

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        operation = self.description.find(request.method, self.path_of(request))
        if operation is None:
            self.violations.append(f"{request.method} {request.path}: no such operation is described")
            return _response(*_parts(self.not_found(request.path)))
        asked = Asked(operation.name, operation.path, dict(request.query), await _body(request))
        self.asked.append(asked)
        fault = self._next_fault(operation.name)
        if fault is not None and not fault.has_effect:
            return await self._met(request, operation, fault)
        status, headers, body = self._granted(request, operation, asked)
        self._judge(operation, status, body)
        if fault is not None:
            return await self._met(request, operation, fault)
        return _response(status, headers, body)

    def path_of(self, request: web.Request) -> str:
        """The path as the description has it."""
        return request.path

    def _granted(
        self, request: web.Request, operation: Operation, asked: Asked
    ) -> tuple[int, Mapping[str, str], Any]:
        try:
            self.authorize(request)
            if faults := self.description.request_faults(operation, asked.query, asked.body):
                self.violations += [f"{operation.name}: {fault}" for fault in faults]
                raise self.invalid(faults)
            status, body = self.handlers()[operation.name](asked)
        except Refusal as refusal:
            return _parts(refusal)
        return status, {}, body

    def _judge(self, operation: Operation, status: int, body: Any) -> None:
        for fault in self.description.response_faults(operation, status, body):
            self.violations.append(f"answer to {operation.name}: {fault}")

    def _next_fault(self, operation: str) -> Fault | None:
        queue = self._faults[operation]
        if not queue:
            return None
        fault = queue[0]
        if fault.after > 0:
            fault.after -= 1
            return None
        fault.times -= 1
        if fault.times <= 0:
            queue.pop(0)
        return fault

    async def _met(self, request: web.Request, operation: Operation, fault: Fault) -> web.StreamResponse:
        fault.then()
        if fault.kind in {"refused", "answered"}:
            if isinstance(fault.body, dict | list):
                self._judge(operation, fault.status, fault.body)
            return _response(fault.status, fault.headers, fault.body)
        if fault.kind == "silent":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._stopped.wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)


def _parts(refusal: Refusal) -> tuple[int, Mapping[str, str], Any]:
    return refusal.status, refusal.headers, refusal.body


async def _body(request: web.Request) -> Any:
    text = await request.text()
    if not text:
        return None
    if request.content_type == "application/x-www-form-urlencoded":
        return dict(parse_qsl(text, keep_blank_values=True))
    return json.loads(text)


def _response(status: int, headers: Mapping[str, str], body: Any) -> web.Response:
    if body is None:
        return web.Response(status=status, headers=headers)
    if isinstance(body, str):
        return web.Response(status=status, headers=headers, text=body)
    return web.json_response(body, status=status, headers=headers)

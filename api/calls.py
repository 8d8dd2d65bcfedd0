"""The operations on calls: of those that are over by the store, of the others by the gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from sqlalchemy.orm import Session

from api.call_history import CallHistory
from api.call_types import CallPage, CallQuery, CallTrace, DrainState, LiveCalls
from api.live_gateway import LiveGateway
from api.operations import Operation, Reply, Request
from api.problems import Problem, not_found
from api.store.database import Database
from routing.call_records import CallShown

TAG: Final = "Calls"

TEXT: Final = "text/plain"
PCAP: Final = "application/vnd.tcpdump.pcap"

MAX_TRACES: Final = 4
"""Traces put together at once: each reads through what was written while its call went on."""


class Calls:
    """What can be asked about calls, and about the gateway that has them.

    Args:
        database: the store.
        history: what is kept there.
        node: the gateway of this process; None if it is none.
        settle: writes calls that ended just now and are kept in batches. May raise StoreUnavailable.

    """

    def __init__(
        self,
        database: Database,
        history: CallHistory,
        node: LiveGateway | None,
        settle: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._database = database
        self._settle = settle
        self._history = history
        self._node = node
        self._tracing = 0

    def operations(self) -> list[Operation]:
        """All of them."""
        one = "/v1/calls/{call_id}"
        return [
            Operation(
                id="listCalls",
                method="GET",
                path="/v1/calls",
                summary="List or search calls that are over, newest first",
                tag=TAG,
                scope="read",
                read=self.list,
                lags=True,
                query=CallQuery,
                response=CallPage,
            ),
            Operation(
                id="listLiveCalls",
                method="GET",
                path="/v1/calls/live",
                summary="List the calls that go on at this gateway",
                tag=TAG,
                scope="read",
                act=self.live,
                response=LiveCalls,
                problems=("not-found",),
            ),
            Operation(
                id="getCall",
                method="GET",
                path=one,
                summary="Get a call, over or not",
                tag=TAG,
                scope="read",
                act=self.get,
                response=CallShown,
                problems=("not-found",),
            ),
            Operation(
                id="hangUpCall",
                method="DELETE",
                path=one,
                summary="End a call that goes on at this gateway: both sides get their goodbye",
                tag=TAG,
                scope="write",
                status=204,
                act=self.hang_up,
                problems=("not-found",),
            ),
            Operation(
                id="getCallTrace",
                method="GET",
                path=f"{one}/trace",
                summary="Get what happened in a call: every SIP message, and everything else, in order",
                tag=TAG,
                scope="read",
                act=self.trace,
                response=CallTrace,
                problems=("not-found",),
            ),
            Operation(
                id="getCallTraceText",
                method="GET",
                path=f"{one}/trace.txt",
                summary="Get the same as text: a ladder, and the messages",
                tag=TAG,
                scope="read",
                content=self.trace_text,
                content_types=(TEXT,),
                problems=("not-found",),
            ),
            Operation(
                id="getCallTraceCapture",
                method="GET",
                path=f"{one}/trace.pcap",
                summary="Get a call's packets, for Wireshark, tshark or sngrep",
                tag=TAG,
                scope="read",
                content=self.trace_capture,
                content_types=(PCAP,),
                problems=("not-found",),
            ),
            Operation(
                id="getDrain",
                method="GET",
                path="/v1/drain",
                summary="See whether this gateway takes new calls",
                tag="Gateway",
                scope="read",
                act=self.get_drain,
                response=DrainState,
                problems=("not-found",),
            ),
            Operation(
                id="startDrain",
                method="POST",
                path="/v1/drain",
                summary="Take no new calls: carriers get 503 and go elsewhere, calls under way go on",
                tag="Gateway",
                scope="write",
                act=self.start_drain,
                response=DrainState,
                problems=("not-found",),
            ),
            Operation(
                id="endDrain",
                method="DELETE",
                path="/v1/drain",
                summary="Take new calls again",
                tag="Gateway",
                scope="write",
                act=self.end_drain,
                response=DrainState,
                problems=("not-found",),
            ),
        ]

    # For the console, too.

    async def page(self, query: CallQuery) -> CallPage:
        """Calls that are over. Raises StoreUnavailable or Problem."""
        return await self._database.read(lambda session: self._history.page(session, query))

    async def find(self, call_id: str) -> CallShown | None:
        """A call, over or not. Raises StoreUnavailable."""
        live = None if self._node is None else await self._node.find(call_id)
        if live is not None:
            return live
        kept = await self._kept(call_id)
        if kept is None and self._settle is not None:
            await self._settle()
            kept = await self._kept(call_id)
        return kept

    async def _kept(self, call_id: str) -> CallShown | None:
        return await self._database.read(lambda session: self._history.get(session, call_id))

    async def search(
        self, text: str, *, refused: bool, cursor: str, limit: int
    ) -> tuple[list[CallShown], str]:
        """Calls that are over, newest first, and the cursor of those that follow; a strange one finds none.

        Raises StoreUnavailable.
        """
        query = CallQuery(
            search=text or None, refused=True if refused else None, cursor=cursor or None, limit=limit
        )
        try:
            page = await self.page(query)
        except Problem:
            return [], ""
        return page.items, page.next_cursor or ""

    # Operations.

    def list(self, session: Session, request: Request) -> Reply:
        """List calls that are over."""
        return Reply(self._history.page(session, request.query))

    async def live(self, _request: Request) -> Reply:
        """List calls that go on."""
        node = self._gateway()
        return Reply(LiveCalls(node.name, await node.live()))

    async def get(self, request: Request) -> Reply:
        """Get a call."""
        return Reply(await self._call(request))

    async def hang_up(self, request: Request) -> Reply:
        """End a call."""
        call_id = request.path["call_id"]
        if not await self._gateway().hang_up(call_id):
            raise not_found("live call", call_id)
        return Reply(None)

    async def trace(self, request: Request) -> Reply:
        """Get a trace."""
        call = await self._call(request)
        rungs = await self._traced(call, self._gateway().trace)
        return Reply(CallTrace(call.id, call.node, call.started_at, list(rungs)))

    async def trace_text(self, request: Request, _raw: web.Request) -> web.StreamResponse:
        """Get a trace as text."""
        call = await self._call(request)
        text = await self._traced(call, self._gateway().trace_text)
        return web.Response(text=text, content_type=TEXT)

    async def trace_capture(self, request: Request, _raw: web.Request) -> web.StreamResponse:
        """Get a trace as a capture."""
        call = await self._call(request)
        packets = await self._traced(call, self._gateway().trace_capture)
        disposition = f'attachment; filename="{call.id}.pcap"'
        return web.Response(body=packets, content_type=PCAP, headers={"Content-Disposition": disposition})

    async def get_drain(self, _request: Request) -> Reply:
        """Tell whether new calls are taken."""
        node = self._gateway()
        return Reply(DrainState(node.name, node.draining, len(await node.live())))

    async def start_drain(self, request: Request) -> Reply:
        """Take no new calls."""
        await self._gateway().drain(True)
        return await self.get_drain(request)

    async def end_drain(self, request: Request) -> Reply:
        """Take new calls again."""
        await self._gateway().drain(False)
        return await self.get_drain(request)

    def _gateway(self) -> LiveGateway:
        if self._node is None:
            raise Problem("not-found", "this process serves the API alone: ask the gateway that has the call")
        return self._node

    async def _call(self, request: Request) -> CallShown:
        call_id = request.path["call_id"]
        call = await self.find(call_id)
        if call is None:
            raise not_found("call", call_id)
        return call

    async def _traced(self, call: CallShown, work: Callable[[CallShown], Awaitable[Any]]) -> Any:
        """Put a trace together; its messages are on the gateway that had the call. Raises Problem."""
        node = self._gateway()
        if not node.has(call.node):
            raise Problem("not-found", f"the trace of {call.id} is on {call.node}; this is {node.name}")
        if self._tracing >= MAX_TRACES:
            detail = f"{MAX_TRACES} traces are being put together"
            raise Problem("unavailable", detail, headers={"Retry-After": "1"})
        self._tracing += 1
        try:
            return await work(call)
        except OSError as error:
            raise Problem("unavailable", f"traces cannot be read: {error.strerror}") from None
        finally:
            self._tracing -= 1

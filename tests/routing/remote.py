"""Another deployment of the API, on a port of its own: it can be told to be old, slow, down or wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

KEY = "oi_sk_key-of-the-remote-api"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Remote:
    """Its records, how it answers, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.numbers: dict[str, dict[str, Any]] = {}
        self.agents: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.offers_cursor = True
        self.offers_agents = True
        self.offers_updated_since = True
        self.etag = True
        self.fault: Callable[[web.Request], Awaitable[web.StreamResponse | None]] | None = None
        """Asked first; None: answer as usual."""
        self._version = 0
        self._clock = 1_700_000_000.0

    def put(self, phone_number: str, **fields: Any) -> None:
        """Register or change a number."""
        self._version += 1
        self._clock += 1
        routing = {"agent_id": "agt_one", "fallback": None, "voicemail_message": None, "voicemail": True}
        before = self.numbers.get(phone_number, {"id": f"phn_{phone_number[1:]}", "status": "active"})
        told = {"phone_number": phone_number, "inbound_routing": routing, "updated_at": self.now, "new": {}}
        self.numbers[phone_number] = {**before, **told, "provisioning": None, **fields}

    def agent(self, agent_id: str, url: str = "sip:bot@192.0.2.10", **fields: Any) -> None:
        self._version += 1
        endpoint = {"url": url, "protocol": None, "max_calls": None, "headers": {}}
        self.agents[agent_id] = {"id": agent_id, "name": agent_id, "endpoints": [endpoint], **fields}

    def drop(self, key: str) -> None:
        """Delete a number or an agent."""
        self._version += 1
        self.numbers.pop(key, None)
        self.agents.pop(key, None)

    @property
    def now(self) -> str:
        return datetime.fromtimestamp(self._clock, UTC).isoformat().replace("+00:00", "Z")

    def asked(self, part: str) -> int:
        """How many requests had this in path or query."""
        return sum(part in request for request in self.requests)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        if self.fault is not None and (answered := await self.fault(request)) is not None:
            return answered
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"title": "Unauthorized"}, status=401)
        query = request.query
        if request.path == "/v1/agents" and self.offers_agents:
            return self._offset_page(list(self.agents.values()), request)
        records = list(self.numbers.values())
        if request.path == "/v1/phone-numbers":
            return self._offset_page(records, request)
        if request.path == "/v1/phone-numbers/cursor" and self.offers_cursor:
            if "updated_since" in query:
                if not self.offers_updated_since:
                    return web.json_response({"title": "unknown parameter"}, status=422)
                records = [each for each in records if each["updated_at"] >= query["updated_since"]]
            start, limit = int(query.get("cursor", 0)), int(query["limit"])
            more = start + limit < len(records)
            page = {"items": records[start : start + limit], "has_more": more, "limit": limit}
            return web.json_response(page | {"next_cursor": str(start + limit) if more else None})
        return web.json_response({"title": "Not found"}, status=404)

    def _offset_page(self, records: list[dict[str, Any]], request: web.Request) -> web.StreamResponse:
        headers = {}
        if self.etag:
            etag = headers["ETag"] = f'"{self._version}"'
            if request.headers.get("If-None-Match") == etag:
                return web.Response(status=304, headers=headers)
        limit, offset = int(request.query["limit"]), int(request.query.get("offset", 0))
        page = {"items": records[offset : offset + limit], "total": len(records)}
        return web.json_response(page | {"limit": limit, "offset": offset}, headers=headers)


def always(status: int = 200, body: object = None, text: str | None = None, **headers: str) -> Any:
    """A fault: the same answer to everything."""

    async def fault(_request: web.Request) -> web.StreamResponse:
        content = json.dumps(body) if text is None else text
        return web.Response(
            status=status,
            text=content,
            content_type="application/json",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    return fault


async def never(request: web.Request) -> web.StreamResponse | None:
    """A fault: no answer at all, while the connection stands."""
    while request.transport is not None:  # noqa: ASYNC110 - there is nothing to wait for
        await asyncio.sleep(0.02)
    return None


@contextlib.asynccontextmanager
async def remote_api() -> AsyncIterator[Remote]:
    """One that runs."""
    remote = Remote()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", remote.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    remote.url = f"http://{host}:{port}"
    try:
        yield remote
    finally:
        await runner.cleanup()

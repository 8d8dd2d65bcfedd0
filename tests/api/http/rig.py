"""The API on a port of its own, and a client that asks it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

from api.service import ApiService
from routing.call_events import Event, VoicemailCreated
from routing.redis_clients import connect
from storage.local import LocalStore
from tests.api.schema_template import put_sqlite

KEY = "oi_sk_bootstrap-key-of-the-tests"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def etag(self) -> str:
        return self.headers["ETag"]


class Api:
    """A running API."""

    def __init__(self, service: ApiService, address: str, session: ClientSession, recordings: Path) -> None:
        self.service = service
        self.intake = service.intake(connect("redis://nowhere.invalid", 1.0))
        self.recordings = recordings
        self.address = address
        self._session = session

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = KEY,
        data: bytes | None = None,
        **headers: str,
    ) -> Answer:
        """Send a request; headers are given with underscores for hyphens."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent.setdefault("Authorization", f"Bearer {key}")
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self._session.request(method, self.address + path, data=data, headers=sent) as response:
            text = await response.text()
            is_json = response.content_type.endswith("json")
            return Answer(response.status, response.headers, json.loads(text) if is_json else text)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.ask("POST", path, body, **options)

    async def patch(self, path: str, body: Any, **options: Any) -> Answer:
        return await self.ask("PATCH", path, body, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self.ask("DELETE", path, **options)

    async def agent(self, agent_id: str, **fields: Any) -> dict[str, Any]:
        """Create an agent."""
        endpoints = [{"url": "sip:bot@127.0.0.1:5999"}]
        answer = await self.post(
            "/v1/agents", {"id": agent_id, "name": agent_id, "endpoints": endpoints, **fields}
        )
        assert answer.status == 201, answer
        return dict(answer.body)

    async def voicemail(
        self, voicemail_id: str, *, audio: bytes = b"RIFF0123456789", **fields: Any
    ) -> dict[str, Any]:
        """Have a message come in."""
        event = VoicemailCreated(
            **{
                "id": f"evt_{voicemail_id}",
                "call_id": voicemail_id.removeprefix("vm_"),
                "created_at": "2026-11-27T12:00:00.000Z",
                "agent_id": "agt_sales",
                "to_number": "+14155550100",
                "from_number": "+14155550111",
                "carrier": "twilio",
                "voicemail_id": voicemail_id,
                "recording_key": f"2026-11-27/{voicemail_id}.wav",
                "duration_seconds": 3.25,
                "speech_seconds": 2.0,
                "too_short": False,
                **fields,
            }
        )
        await self.take(event)
        path = self.recordings / event.recording_key
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(path.write_bytes, audio)
        answer = await self.get(f"/v1/voicemails/{voicemail_id}")
        assert answer.status == 200, answer
        return dict(answer.body)

    async def take(self, *events: Event) -> None:
        """Have the gateway tell of something."""
        await self.service.database.write(lambda tx: self.intake.take(tx, events))
        self.service.deliveries.wake()

    async def number(self, phone_number: str, **fields: Any) -> dict[str, Any]:
        """Register a number."""
        answer = await self.post(
            "/v1/phone-numbers", {"phone_number": phone_number, "provider": "twilio", **fields}
        )
        assert answer.status == 201, answer
        return dict(answer.body)


@contextlib.asynccontextmanager
async def running_api(directory: Path, **options: Any) -> AsyncIterator[Api]:
    """An API that runs for as long as the block does, without Redis."""
    given = {
        "bootstrap_key": KEY,
        "rate_limit": 10_000.0,
        "recordings": lambda: LocalStore(directory / "rec"),
    }
    if not options.get("database_url"):
        put_sqlite(directory)
    service = ApiService(directory, version="0", **{**given, **options})
    await service.open()
    app = web.Application()
    await service.install(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    work = asyncio.create_task(service.run(None))
    host, port = runner.addresses[0][:2]
    try:
        async with ClientSession() as session:
            yield Api(service, f"http://{host}:{port}", session, directory / "rec")
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await runner.cleanup()
        await service.close()

"""`voice-gateway api` killed while a webhook, an email and a transcription are under way: nothing is lost.

What the documentation says is what happens: at least once, under the same ids, when the lease is over.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from sqlalchemy import select, update

from api.access import Principal
from api.operations import Request
from api.service import ApiService
from api.store.database import Transaction
from api.store.tables import DeliveryRow, VoicemailRow
from api.webhook_types import WebhookCreate
from gateway.api_service import make_service
from gateway.config import load
from routing.call_events import VoicemailCreated
from routing.redis_clients import connect
from tests.api.conftest import until
from tests.api.test_email import Inbox, serving
from tests.e2e.sipp import free_port

HOST = "127.0.0.1"
COMMAND = Path(sys.executable).with_name("voice-gateway")
SAID = "Please call me back."


class Receivers:
    """Everybody who is told something, and answers only when allowed to."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.hooks: list[tuple[str, dict[str, Any]]] = []
        self.transcribed = 0

    async def hook(self, request: web.Request) -> web.Response:
        self.hooks.append((request.headers["Voice-Gateway-Delivery"], json.loads(await request.read())))
        await self.may_answer.wait()
        return web.Response()

    async def transcribe(self, request: web.Request) -> web.Response:
        await request.read()
        self.transcribed += 1
        await self.may_answer.wait()
        return web.json_response({"text": SAID})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/hook", self.hook)
        app.router.add_post("/v1/audio/transcriptions", self.transcribe)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        try:
            yield f"http://{HOST}:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


class SlowInbox(Inbox):
    """Takes a message, and says so only when allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way = 0
        self.may_answer = False

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.under_way += 1
        while not self.may_answer:  # noqa: ASYNC110 - it is set from another thread
            await asyncio.sleep(0.01)
        return await super().handle_DATA(server, session, envelope)


def message(voicemail_id: str, *, too_short: bool) -> VoicemailCreated:
    return VoicemailCreated(
        id=f"evt_{voicemail_id}",
        call_id=voicemail_id,
        created_at="2026-11-27T12:00:00.000Z",
        agent_id=None,
        to_number="+14155550100",
        from_number="+14155550111",
        carrier="twilio",
        voicemail_id=voicemail_id,
        recording_key=f"2026-11-27/{voicemail_id}.wav",
        duration_seconds=3.0,
        speech_seconds=2.0,
        too_short=too_short,
    )


async def started(config: Path) -> asyncio.subprocess.Process:
    with (config.parent / "api.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            str(COMMAND), "api", "--config", str(config), stdout=log, stderr=log
        )


async def rows(service: ApiService) -> dict[tuple[str, str], DeliveryRow]:
    """Deliveries by receiver (`hook` for the webhook) and event id."""
    found = await service.database.read(lambda session: session.scalars(select(DeliveryRow)).all())
    return {
        (row.webhook_id if not row.webhook_id.startswith("whk_") else "hook", row.event_id): row
        for row in found
    }


async def test_what_was_under_way_is_done_after_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    receivers, inbox = Receivers(), SlowInbox()
    async with receivers.serving() as url:
        with serving(inbox) as smtp:
            settings = f"""
            [web]
            listen = "{HOST}:{free_port(HOST)}"
            [data]
            dir = "{data}"
            [webhooks]
            allow_private = true
            [transcription]
            url = "{url}"
            [email]
            host = "{HOST}"
            port = {smtp}
            tls = "none"
            sender = "voicemail@example.com"
            to = "team@example.com"
            """
            config = tmp_path / "gateway.toml"
            await asyncio.to_thread(config.write_text, settings)
            await killed_and_restarted(config, data, receivers, inbox, url)


async def killed_and_restarted(
    config: Path, data: Path, receivers: Receivers, inbox: SlowInbox, url: str
) -> None:
    process = await started(config)
    service = await asyncio.to_thread(lambda: make_service(load(config)))
    try:
        await until((data / "api.sqlite").exists)
        await service.open()
        await fill(service, data, f"{url}/hook")
        await until(lambda: len(receivers.hooks) == 2 and receivers.transcribed and inbox.under_way)
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL

        left = await rows(service)
        tried = {
            ("hook", "evt_vm_1"),
            ("hook", "evt_vm_2"),
            ("transcription", "evt_vm_1"),
            ("email", "evt_vm_2"),
        }
        assert {key for key, row in left.items() if row.attempts} == tried
        assert left.keys() == tried | {("email", "evt_vm_1")}  # which waits for its transcript
        for row in left.values():
            assert row.status == "pending"
            assert row.due_at is not None
            assert row.due_at > time.time()  # nobody makes the attempt again before its lease is over

        receivers.may_answer.set()
        inbox.may_answer = True
        passed = update(DeliveryRow).where(DeliveryRow.attempts == 1)
        await service.database.write(
            lambda tx: tx.session.execute(passed.values(due_at=DeliveryRow.due_at - 3600))
        )
        process = await started(config)
        await until(lambda: len(receivers.hooks) == 5 and len(inbox.got) == 2)
        await settled(service)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0

        done = await rows(service)
        assert {key: row.attempts for key, row in done.items()} == {
            **dict.fromkeys(tried, 2),
            ("email", "evt_vm_1"): 1,
            ("hook", "evt_vm_1_transcribed"): 1,
        }
        shown = select(VoicemailRow.transcript).where(VoicemailRow.id == "vm_1")
        assert await service.database.read(lambda session: session.scalar(shown)) == SAID
    finally:
        await service.close()
        if process.returncode is None:
            process.kill()
            await process.wait()
    deliveries: dict[str, list[str]] = {}
    for delivery_id, body in receivers.hooks:
        deliveries.setdefault(f"{body['event']} {body['id']}", []).append(delivery_id)
    assert {event: len(ids) for event, ids in deliveries.items()} == {
        "voicemail.created evt_vm_1": 2,
        "voicemail.created evt_vm_2": 2,
        "voicemail.transcribed evt_vm_1_transcribed": 1,
    }
    assert all(len(set(ids)) == 1 for ids in deliveries.values())
    texts = [body.get_content() for mail in inbox.got if (body := mail.get_body()) is not None]
    assert sorted("vm_1" in text for text in texts) == [False, True]
    assert sum(SAID in text for text in texts) == 1


async def fill(service: ApiService, data: Path, address: str) -> None:
    """A webhook, and two messages as an intake takes them."""
    body = WebhookCreate(name="hook", url=address, events=["voicemail.created", "voicemail.transcribed"])
    request = Request(Principal("local", frozenset({"write"})), {}, None, body)
    await service.database.write(lambda tx: service.webhooks.create(tx, request))
    audio = data / "recordings" / "2026-11-27"
    await asyncio.to_thread(audio.mkdir, parents=True)
    for name in ("vm_1.wav", "vm_2.wav"):
        await asyncio.to_thread((audio / name).write_bytes, b"RIFFvoice")
    taking = service.intake(connect("redis://nowhere.invalid", 1.0))

    def take(tx: Transaction) -> None:
        taking.take(tx, [message("vm_1", too_short=False), message("vm_2", too_short=True)])

    await service.database.write(take)


async def settled(service: ApiService) -> None:
    """Until nothing is on its way any more."""
    async with asyncio.timeout(60):
        while any(  # noqa: ASYNC110 - it happens in another process
            row.status == "pending" for row in (await rows(service)).values()
        ):
            await asyncio.sleep(0.05)

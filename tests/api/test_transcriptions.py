"""Voicemails written down by an endpoint that answers, dawdles, refuses and talks nonsense."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from api import voicemail_emails
from api.email_sender import Mailbox
from api.transcriber import MAX_ANSWER, MAX_TRANSCRIPT, Endpoint, Transcriber, TranscriptionFailedError
from api.transcriptions import PAUSES, Transcriptions
from storage.local import LocalStore
from tests.api.conftest import Store
from tests.api.http.rig import Api, running_api
from tests.api.test_email import Inbox, serving

SAID = "Hello, this is Ada. Please call me back."


class Server:
    """Writes down; what it was asked, and what it answers next: a status, or a body."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers: list[int | bytes] = []
        self.keys: list[str | None] = []
        self.hold: asyncio.Event | None = None
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("Authorization"))
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        fields = {name: value for name, value in form.items() if name != "file"}
        self.asked.append({**fields, "name": file.filename, "audio": file.file.read()})
        if self.hold is not None:
            await self.hold.wait()
        answer = self.answers.pop(0) if self.answers else json.dumps({"text": SAID}).encode()
        if isinstance(answer, int):
            return web.json_response({"error": {"message": "what was said: " + SAID}}, status=answer)
        return web.Response(body=answer, content_type="application/json")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_post("/v1/audio/transcriptions", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    if server.hold is not None:
        server.hold.set()
    await runner.cleanup()


def endpoint_of(server: Server, **changes: Any) -> Endpoint:
    return replace(Endpoint(server.url, "sk-secret", "whisper-1", "", 10.0), **changes)


async def write_down(server: Server, **changes: Any) -> str:
    asking = Transcriber(endpoint_of(server, **changes))
    try:
        return await asking.transcript("vm_1.wav", b"RIFFvoice", "audio/wav")
    finally:
        await asking.close()


async def test_what_is_asked_and_answered(server: Server) -> None:
    assert await write_down(server, language="en") == SAID
    [asked] = server.asked
    assert asked == {
        "model": "whisper-1",
        "response_format": "json",
        "language": "en",
        "name": "vm_1.wav",
        "audio": b"RIFFvoice",
    }
    assert server.keys == ["Bearer sk-secret"]
    assert "sk-secret" not in repr(endpoint_of(server))
    await write_down(server, key="")
    assert server.keys[-1] is None


@pytest.mark.parametrize(
    ("answer", "retryable"),
    [
        (400, False),
        (413, False),
        (401, True),
        (404, True),
        (429, True),
        (500, True),
        (b"no", True),
        (b'{"t":1}', True),
    ],
)
async def test_failures_are_told_apart_and_repeat_nothing(
    server: Server, answer: int | bytes, retryable: bool
) -> None:
    server.answers = [answer]
    with pytest.raises(TranscriptionFailedError) as failed:
        await write_down(server)
    assert failed.value.retryable is retryable
    assert "Ada" not in str(failed.value)
    assert "sk-secret" not in str(failed.value)


async def test_nobody_waits_for_ever_and_nothing_grows(server: Server) -> None:
    server.answers = [
        json.dumps({"text": "\x00 a" + "b" * 2 * MAX_TRANSCRIPT}).encode(),
        bytes(2 * MAX_ANSWER),
    ]
    kept = await write_down(server)
    assert (len(kept), kept[:2]) == (MAX_TRANSCRIPT, "ab")
    with pytest.raises(TranscriptionFailedError, match="something else"):
        await write_down(server)
    server.hold = asyncio.Event()
    with pytest.raises(TranscriptionFailedError, match="longer than"):
        await write_down(server, timeout=0.05)
    with pytest.raises(TranscriptionFailedError, match="failed"):
        await write_down(server, url="http://127.0.0.1:9")


@pytest.fixture
async def api(store: Store, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(tmp_path, database_url=store.url, webhooks_private=True) as running:
        yield running


def transcriptions_of(api: Api, server: Server, clock: list[float]) -> Transcriptions:
    service = api.service
    asking = Transcriber(endpoint_of(server))
    service._exit.push_async_callback(asking.close)
    made = Transcriptions(
        service.database,
        LocalStore(api.recordings),
        asking,
        service.metrics,
        timeout=10.0,
        on_transcribed=service.webhooks.take,
        clock=lambda: clock[0],
        dice=lambda: 0.5,
    )
    api.intake._takers = [*api.intake._takers, made.take]
    return made


async def told(api: Api, hook: dict[str, Any]) -> list[str]:
    page = (await api.get(f"/v1/webhooks/{hook['id']}/deliveries")).body
    return [each["event"] for each in page["items"]]


async def test_a_message_is_written_down_and_told_and_forgotten_with_it(api: Api, server: Server) -> None:
    body = {"name": "hook", "url": f"{server.url}/hook", "events": ["voicemail.transcribed"]}
    hook = (await api.post("/v1/webhooks", body)).body
    transcriptions = transcriptions_of(api, server, [2e9])
    made = await api.voicemail("vm_1", audio=b"RIFFvoice")
    assert (made["transcription"], made["transcript"]) == ("pending", None)
    assert await transcriptions.do_one()
    assert not await transcriptions.do_one()
    shown = (await api.get("/v1/voicemails/vm_1")).body
    assert (shown["transcription"], shown["transcript"], shown["version"]) == ("done", SAID, 2)
    assert server.asked[0]["audio"] == b"RIFFvoice"
    assert await told(api, hook) == ["voicemail.transcribed"]
    assert (await api.delete("/v1/voicemails/vm_1")).status == 204
    assert await told(api, hook) == []  # what was said is nowhere any more


async def test_a_hang_up_is_not_sent_anywhere(api: Api, server: Server) -> None:
    transcriptions = transcriptions_of(api, server, [2e9])
    made = await api.voicemail("vm_1", too_short=True)
    assert (made["transcription"], made["transcript"]) == (None, None)
    assert not await transcriptions.do_one()
    assert not server.asked


async def test_attempts_have_an_end(api: Api, server: Server) -> None:
    clock = [2e9]
    transcriptions = transcriptions_of(api, server, clock)
    server.answers = [500] * 100
    await api.voicemail("vm_1")
    attempts = 0
    while await transcriptions.do_one():
        attempts += 1
        clock[0] += 3600
    assert attempts == len(PAUSES) + 1
    shown = (await api.get("/v1/voicemails/vm_1")).body
    assert (shown["transcription"], shown["transcript"]) == ("failed", None)


async def test_one_that_is_refused_is_given_up_at_once(api: Api, server: Server) -> None:
    transcriptions = transcriptions_of(api, server, [2e9])
    server.answers = [400]
    await api.voicemail("vm_1")
    assert await transcriptions.do_one()
    assert not await transcriptions.do_one()
    assert (await api.get("/v1/voicemails/vm_1")).body["transcription"] == "failed"


async def test_the_email_waits_for_the_transcript_and_not_for_ever(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.voicemail_errands.LOOK_SECONDS", 0.02)
    monkeypatch.setattr(voicemail_emails, "TRANSCRIPT_SECONDS", 3600.0)
    inbox = Inbox()
    with serving(inbox) as port:
        mailbox = Mailbox(
            "127.0.0.1", port, "none", "", "", "from@example.com", "team@example.com", 1_000_000
        )
        server.hold = asyncio.Event()
        options = {"mailbox": mailbox, "transcription": endpoint_of(server)}
        async with running_api(tmp_path, **options) as api, asyncio.timeout(30):
            path = api.recordings / "2026-11-27" / "vm_1.wav"
            await asyncio.to_thread(path.parent.mkdir, parents=True)
            await asyncio.to_thread(path.write_bytes, b"RIFFvoice")
            await api.voicemail("vm_1")
            while not server.asked:  # noqa: ASYNC110 - it happens in a server
                await asyncio.sleep(0.01)
            assert not inbox.got
            server.hold.set()
            while not inbox.got:  # noqa: ASYNC110 - it happens in a thread
                await asyncio.sleep(0.01)
    text = inbox.got[0].get_body()
    assert text is not None
    assert SAID in text.get_content()

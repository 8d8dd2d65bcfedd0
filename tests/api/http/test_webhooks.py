"""Webhooks, to a real receiver that fails, dawdles and redirects."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from api import deliveries
from api.webhook_sender import PRIVATE, WebhookSender, is_public, signature
from tests.api.conftest import PATIENCE, Store, until
from tests.api.http.rig import Api, running_api
from tests.routing.test_event_stream import started, voicemail


class Receiver:
    """Somebody's server."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.hold: asyncio.Event | None = None
        self.waiting = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.hold is not None and request.path == "/slow":
            self.waiting += 1
            await self.hold.wait()
        self.heard.append((dict(request.headers), body))
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.heard]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield receiver
    if receiver.hold is not None:
        receiver.hold.set()
    await runner.cleanup()


@pytest.fixture
async def inside(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """An API that may send to this machine, and does not pause for long."""
    monkeypatch.setattr(deliveries, "PAUSES", (0.01,) * 3)
    monkeypatch.setattr(deliveries, "LOOK_SECONDS", 0.02)
    async with running_api(tmp_path, database_url=store.url, webhooks_private=True) as running:
        yield running


async def make(api: Api, url: str, *events: str) -> dict[str, Any]:
    body = {"name": "hook", "url": url, "events": list(events or ("call.started", "voicemail.created"))}
    answer = await api.post("/v1/webhooks", body)
    assert answer.status == 201, answer
    return dict(answer.body)


async def settled(api: Api, hook: dict[str, Any], status: str, count: int = 1) -> list[dict[str, Any]]:
    path = f"/v1/webhooks/{hook['id']}/deliveries?status={status}"
    items: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE):
        while len(items) < count:
            await asyncio.sleep(0.02)
            items = (await api.get(path)).body["items"]
    return items


async def test_an_event_arrives_signed(inside: Api, receiver: Receiver) -> None:
    hook = await make(inside, f"{receiver.url}/hook")
    await make(inside, f"{receiver.url}/other", "call.ended")
    await inside.take(voicemail("vm_1"))
    (delivery,) = await settled(inside, hook, "delivered")
    ((headers, body),) = receiver.heard
    told = dict(part.split("=") for part in headers["Voice-Gateway-Signature"].split(","))
    expected = hmac.new(hook["secret"].encode(), f"{told['t']}.".encode() + body, hashlib.sha256)
    assert hmac.compare_digest(told["v1"], expected.hexdigest())
    assert headers["Voice-Gateway-Event"] == "voicemail.created"
    assert headers["Voice-Gateway-Delivery"] == delivery["id"]
    event = json.loads(body)
    assert event["event"] == "voicemail.created"
    assert event["audio_url"] == "/v1/voicemails/vm_1/audio"
    assert "recording_key" not in event
    assert (delivery["attempts"], delivery["response_status"], delivery["error"]) == (1, 200, "")


async def test_what_fails_is_tried_again_and_only_2xx_counts(inside: Api, receiver: Receiver) -> None:
    receiver.statuses = [500, 302, 429]
    hook = await make(inside, f"{receiver.url}/hook")
    await inside.take(started(1))
    (delivery,) = await settled(inside, hook, "delivered")
    assert delivery["attempts"] == 4
    assert [event["id"] for event in receiver.bodies] == ["evt_1"] * 4


async def test_what_a_wrong_clock_has_put_off_for_years_is_delivered(
    inside: Api, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "PAUSES", (1e9,) * 3)
    receiver.statuses = [503]
    hook = await make(inside, f"{receiver.url}/hook")
    await inside.take(started(1))
    (delivery,) = await settled(inside, hook, "delivered")
    assert delivery["attempts"] == 2


async def test_what_is_given_up_is_listed_and_can_be_delivered_again(inside: Api, receiver: Receiver) -> None:
    receiver.statuses = [503] * 4
    hook = await make(inside, f"{receiver.url}/hook")
    await inside.take(started(1))
    (failed,) = await settled(inside, hook, "failed")
    assert (failed["attempts"], failed["error"], failed["next_attempt_at"]) == (4, "answered 503", None)
    path = f"/v1/webhooks/{hook['id']}/deliveries/{failed['id']}/redeliver"
    assert (await inside.post(path)).body["status"] == "pending"
    assert len(await settled(inside, hook, "delivered")) == 1
    assert (await inside.post(f"/v1/webhooks/{hook['id']}/deliveries/dlv_x/redeliver")).status == 404


async def test_a_slow_receiver_keeps_no_other_waiting(inside: Api, receiver: Receiver) -> None:
    receiver.hold = asyncio.Event()
    await make(inside, f"{receiver.url}/slow")
    quick = await make(inside, f"{receiver.url}/quick")
    await inside.take(*(started(number) for number in range(20)))
    await until(lambda: len(receiver.heard) == 20)
    assert receiver.waiting <= deliveries.MAX_PER_WEBHOOK
    assert {event["id"] for event in receiver.bodies} == {f"evt_{number}" for number in range(20)}
    assert len(await settled(inside, quick, "delivered", 20)) == 20


async def test_an_attempt_that_died_with_its_process_is_made_again_by_the_next(
    store: Store, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(deliveries, "LEASE_SECONDS", 0.5)
    receiver.hold = asyncio.Event()
    options = {"database_url": store.url, "webhooks_private": True}
    async with running_api(tmp_path, **options) as api:
        hook = await make(api, f"{receiver.url}/slow")
        await api.take(started(1))
        await until(lambda: receiver.waiting)
    receiver.hold.set()
    receiver.heard.clear()
    async with running_api(tmp_path, **options) as api:
        (delivery,) = await settled(api, hook, "delivered")
    assert delivery["attempts"] >= 2


async def test_a_test_tells_what_came_of_it(inside: Api, receiver: Receiver) -> None:
    hook = await make(inside, f"{receiver.url}/hook")
    path = f"/v1/webhooks/{hook['id']}/test"
    assert (await inside.post(path)).body == {"delivered": True, "response_status": 200, "error": ""}
    assert receiver.bodies[0]["event"] == "webhook.test"
    receiver.statuses = [404]
    assert (await inside.post(path)).body["error"] == "answered 404"
    await inside.patch(f"/v1/webhooks/{hook['id']}", {"url": "http://127.0.0.1:1/"})
    refused = (await inside.post(path)).body
    assert (refused["delivered"], refused["response_status"]) == (False, None)
    assert refused["error"]


async def test_making_changing_and_deleting(api: Api) -> None:
    hook = await make(api, "https://hooks.example.com/voice")
    assert hook["secret"].startswith("whsec_")
    path = f"/v1/webhooks/{hook['id']}"
    got = await api.get(path)
    assert got.body == {name: value for name, value in hook.items() if name != "secret"}
    changed = await api.patch(path, {"events": ["call.failed", "call.failed"], "status": "inactive"})
    assert (changed.body["events"], changed.body["status"]) == (["call.failed"], "inactive")
    assert (await api.patch(path, {"name": "x"}, If_Match=got.etag)).status == 412
    assert (await api.patch(path, {"secret": "x"})).body["errors"][0]["rule"] == "immutable"
    assert (await api.get("/v1/webhooks")).body["total"] == 1
    await api.take(started(1))
    assert (await api.get(f"{path}/deliveries")).body["items"] == []
    assert (await api.delete(path)).status == 204
    assert (await api.get(path)).status == 404


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("url", "ftp://example.com", "https://"),
        ("url", "https://user:pw@example.com/", "password"),
        ("url", "http://127.0.0.1/", "public"),
        ("url", "http://[::1]/", "public"),
        ("url", "http://[::ffff:10.0.0.1]/", "public"),
        ("url", "http://169.254.169.254/latest/meta-data", "public"),
        ("url", "https://", "https://"),
        ("events", ["call.strated"], "did you mean call.started?"),
        ("events", [], "at least one"),
        ("name", "", "1 to 255"),
    ],
)
async def test_what_is_refused(api: Api, field: str, value: Any, told: str) -> None:
    body = {"name": "hook", "url": "https://example.com/", "events": ["call.started"], field: value}
    answer = await api.post("/v1/webhooks", body)
    assert answer.status == 422, answer
    assert told in str(answer.body["errors"][0])


async def test_there_is_an_end_to_how_many(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.webhooks.MAX_WEBHOOKS", 1)
    await make(api, "https://example.com/")
    refused = await api.post(
        "/v1/webhooks", {"name": "x", "url": "https://example.com", "events": ["call.ended"]}
    )
    assert (refused.status, refused.body["type"]) == (409, "/docs/problems#too-many")


async def test_a_name_that_leads_inside_is_not_connected_to(receiver: Receiver) -> None:
    sender = WebhookSender(allow_private=False)
    try:
        answer = await sender.send(
            receiver.url.replace("127.0.0.1", "localhost"), "s", "webhook.test", "dlv_1", b"{}"
        )
    finally:
        await sender.close()
    assert answer.status is None
    assert PRIVATE in answer.error
    assert receiver.heard == []


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("::ffff:127.0.0.1", False),
        ("nonsense", False),
    ],
)
def test_which_addresses_are_public(host: str, public: bool) -> None:
    assert is_public(host) is public


def test_a_signature_that_anybody_can_check() -> None:
    known = hmac.new(b"whsec_x", b"1700000000.{}", hashlib.sha256).hexdigest()
    assert signature("whsec_x", 1_700_000_000, b"{}") == f"t=1700000000,v1={known}"

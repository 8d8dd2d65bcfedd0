"""Greetings, over HTTP."""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from api.operations import MAX_BODY
from routing.cache import decode_agent, decode_number
from tests.api.http.rig import KEY, Answer, Api, running_api


def upload_of(seconds: float = 0.5, form: str = "WAV") -> bytes:
    out = io.BytesIO()
    soundfile.write(out, 0.3 * np.sin(np.arange(int(seconds * 16_000)) / 5), 16_000, format=form)
    return out.getvalue()


async def upload(api: Api, data: bytes | None = None, query: str = "", **headers: str) -> Answer:
    headers = {"Content_Type": "audio/wav", **headers}
    return await api.post(f"/v1/greetings{query}", data=data or upload_of(), **headers)


async def audio(api: Api, greeting_id: str) -> tuple[int, bytes]:
    address = f"{api.address}/v1/greetings/{greeting_id}/audio"
    async with api._session.get(address, headers={"Authorization": f"Bearer {KEY}"}) as response:
        return response.status, await response.read()


async def test_an_upload_is_listed_got_heard_and_deleted(api: Api) -> None:
    made = await upload(api, upload_of(1.0, "OGG"), "?name=Closed", Content_Type="audio/ogg")
    assert made.status == 201, made
    greeting = made.body
    assert greeting["id"].startswith("grt_")
    assert (greeting["name"], greeting["duration_seconds"]) == ("Closed", 1.0)
    assert made.headers["Location"] == f"/v1/greetings/{greeting['id']}"
    assert (await api.get(f"/v1/greetings/{greeting['id']}")).body == greeting
    page = (await api.get("/v1/greetings")).body
    assert (page["items"], page["total"]) == ([greeting], 1)
    status, heard = await audio(api, greeting["id"])
    assert (status, len(heard)) == (200, greeting["size_bytes"])
    samples, rate = soundfile.read(io.BytesIO(heard))
    assert (len(samples), rate) == (8000, 8000)
    assert (await api.delete(f"/v1/greetings/{greeting['id']}")).status == 204
    assert (await audio(api, greeting["id"]))[0] == 404
    assert not list(api.recordings.rglob("*.wav"))


async def test_the_same_upload_again_is_the_same_greeting(api: Api) -> None:
    large = upload_of(6.0)
    assert len(large) > MAX_BODY
    first = await upload(api, large, Idempotency_Key="one")
    again = await upload(api, large, Idempotency_Key="one")
    assert again.body == first.body
    assert (await upload(api, upload_of(6.1), Idempotency_Key="one")).status == 422
    assert (await api.get("/v1/greetings")).body["total"] == 1


@pytest.mark.parametrize(
    ("data", "content_type", "status", "rule"),
    [
        (b"nothing that sounds", "audio/wav", 422, "audio"),
        (upload_of(121.0, "OGG"), "audio/ogg", 422, "length"),
        (upload_of(), "text/html", 415, None),
    ],
)
async def test_what_cannot_be_a_greeting(
    api: Api, data: bytes, content_type: str, status: int, rule: str | None
) -> None:
    refused = await upload(api, data, Content_Type=content_type)
    assert refused.status == status, refused
    if rule:
        assert refused.body["errors"][0]["rule"] == rule
    assert (await api.get("/v1/greetings")).body["total"] == 0
    assert not list(api.recordings.rglob("*.wav"))


async def test_there_is_an_end_to_them(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.greetings.MAX_GREETINGS", 1)
    assert (await upload(api)).status == 201
    refused = await upload(api)
    assert (refused.status, refused.body["type"]) == (409, "/docs/problems#too-many")


async def test_too_many_uploads_at_once_are_told_to_come_back(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.pipeline.MAX_LARGE_IN_PROGRESS", 1)
    answers = await asyncio.gather(*(upload(api) for _ in range(6)))
    statuses = {answer.status for answer in answers}
    assert statuses == {201, 503}
    assert (await upload(api)).status == 201


async def test_numbers_and_agents_refer_to_greetings_that_exist(api: Api) -> None:
    unknown = await api.post("/v1/agents", {"name": "A", "voicemail_greeting": "grt_none"})
    assert unknown.body["errors"][0]["field"] == "voicemail_greeting"
    made = (await upload(api)).body["id"]
    await api.agent("agt_sales", voicemail_greeting=made)
    routing = {"agent_id": "agt_sales", "voicemail_greeting": "grt_none"}
    body = {"phone_number": "+14155550100", "provider": "twilio", "inbound_routing": routing}
    refused = await api.post("/v1/phone-numbers", body)
    assert refused.body["errors"][0]["field"] == "inbound_routing.voicemail_greeting"
    number = await api.number("+14155550100", inbound_routing={**routing, "voicemail_greeting": made})
    assert number["inbound_routing"]["voicemail_greeting"] == made
    path = f"/v1/greetings/{made}"
    used = await api.delete(path)
    assert (used.status, used.body["agents"]) == (409, ["agt_sales"])
    assert used.body["numbers"] == [{"id": number["id"], "phone_number": "+14155550100"}]
    assert (await audio(api, made))[0] == 200
    assert await published(api) == [made, made]
    assert (await api.delete(f"{path}?force=true")).status == 204
    assert await published(api) == [None, None]
    assert (await api.get("/v1/agents/agt_sales")).body["voicemail_greeting"] is None
    shown = (await api.get(f"/v1/phone-numbers/{number['id']}")).body
    assert "voicemail_greeting" not in shown["inbound_routing"]


async def published(api: Api) -> list[str | None]:
    """What the routing cache is told of the number's and the agent's greeting."""

    def look(session: Any) -> list[str | None]:
        outbox = api.service._outbox
        number = outbox.records(session, "number", ["+14155550100"])["+14155550100"]
        agent = outbox.records(session, "agent", ["agt_sales"])["agt_sales"]
        routing = decode_number(number).inbound_routing
        assert routing is not None
        return [routing.voicemail_greeting, decode_agent(agent).voicemail_greeting]

    return await api.service.database.read(look)


async def test_variables_of_messages_are_looked_at(agents: Api) -> None:
    routing = {"agent_id": "agt_sales", "voicemail_message": "Hello {{callr}}."}
    body = {"phone_number": "+14155550100", "provider": "twilio", "inbound_routing": routing}
    refused = await agents.post("/v1/phone-numbers", body)
    assert refused.status == 422
    assert refused.body["errors"] == [
        {
            "field": "inbound_routing.voicemail_message",
            "rule": "variable",
            "detail": "{{callr}} is no variable",
            "fix": "did you mean {{caller}}?",
        }
    ]
    refused = await agents.patch("/v1/agents/agt_sales", {"voicemail_message": "{{agent"})
    assert refused.body["errors"][0]["detail"] == "a variable is not closed"
    answer = await agents.patch(
        "/v1/agents/agt_sales", {"voicemail_message": "{{agent}} is out, {{caller}}."}
    )
    assert answer.status == 200


async def test_an_agents_recording_and_greeting_are_kept_changed_and_taken_away(api: Api) -> None:
    made = (await upload(api)).body["id"]
    agent = await api.agent("agt_sales", recording="all", voicemail_greeting=made)
    assert (agent["recording"], agent["voicemail_greeting"]) == ("all", made)
    path = "/v1/agents/agt_sales"
    changed = (await api.patch(path, {"recording": "off"})).body
    assert (changed["recording"], changed["voicemail_greeting"]) == ("off", made)
    gone = (await api.patch(path, {"recording": None, "voicemail_greeting": None})).body
    assert (gone["recording"], gone["voicemail_greeting"]) == (None, None)
    assert (await api.patch(path, {"recording": "some"})).status == 422


async def test_a_store_that_does_not_take_it_leaves_no_greeting(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        await asyncio.to_thread((tmp_path / "rec").write_text, "a file where a directory should be")
        refused = await upload(api)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
        assert (await api.get("/v1/greetings")).body["total"] == 0
        assert not [name for name in await asyncio.to_thread(os.listdir, tmp_path) if ".greeting-" in name]
    async with running_api(tmp_path / "other", recordings=None) as api:
        assert (await upload(api)).status == 503

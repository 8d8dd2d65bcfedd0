"""The voicemail box, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.http.rig import Api

AUDIO = bytes(range(256)) * 4


async def test_a_message_is_listed_and_got(api: Api) -> None:
    made = await api.voicemail("vm_1")
    assert made == {
        "id": "vm_1",
        "phone_number": "+14155550100",
        "from_number": "+14155550111",
        "call_id": "1",
        "carrier": "twilio",
        "agent_id": "agt_sales",
        "duration_seconds": 3.25,
        "too_short": False,
        "heard": False,
        "transcription": None,
        "transcript": None,
        "audio_url": "/v1/voicemails/vm_1/audio",
        "created_at": "2026-11-27T12:00:00.000Z",
        "updated_at": made["updated_at"],
        "version": 1,
    }
    page = (await api.get("/v1/voicemails")).body
    assert (page["items"], page["total"]) == ([made], 1)


async def test_a_message_that_comes_twice_is_there_once_and_stays_deleted(api: Api) -> None:
    await api.voicemail("vm_1")
    await api.voicemail("vm_1")
    assert (await api.get("/v1/voicemails")).body["total"] == 1
    assert (await api.delete("/v1/voicemails/vm_1")).status == 204
    with pytest.raises(AssertionError):
        await api.voicemail("vm_1")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["vm_3", "vm_2", "vm_1"]),
        ("?phone_number=%2B14155550199", ["vm_3"]),
        ("?heard=true", ["vm_2"]),
        ("?heard=false&agent_id=agt_sales", ["vm_1"]),
        ("?too_short=true", ["vm_3"]),
        ("?created_since=2026-11-27T12:00:00Z", ["vm_3", "vm_1"]),
        ("?created_before=2026-11-27T12:00:00Z", ["vm_2"]),
        ("?limit=1&offset=1", ["vm_2"]),
    ],
)
async def test_filters(api: Api, query: str, found: list[str]) -> None:
    await api.voicemail("vm_1")
    await api.voicemail("vm_2", created_at="2026-11-20T12:00:00.000Z")
    await api.voicemail("vm_3", to_number="+14155550199", agent_id=None, too_short=True, from_number="")
    await api.patch("/v1/voicemails/vm_2", {"heard": True})
    assert [item["id"] for item in (await api.get(f"/v1/voicemails{query}")).body["items"]] == found


async def test_cursors_lead_through_all_of_them(api: Api) -> None:
    for number in range(5):
        await api.voicemail(f"vm_{number}")
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await api.get(f"/v1/voicemails/cursor?limit=2{cursor}")).body
        seen += [item["id"] for item in page["items"]]
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ["vm_4", "vm_3", "vm_2", "vm_1", "vm_0"]


async def test_marking_as_heard(api: Api) -> None:
    await api.voicemail("vm_1")
    first = await api.get("/v1/voicemails/vm_1")
    heard = await api.patch("/v1/voicemails/vm_1", {"heard": True}, If_Match=first.etag)
    assert (heard.body["heard"], heard.body["version"]) == (True, 2)
    assert (await api.patch("/v1/voicemails/vm_1", {"heard": False}, If_Match=first.etag)).status == 412
    assert (await api.patch("/v1/voicemails/vm_1", {"heard": False})).body["heard"] is False
    refused = await api.patch("/v1/voicemails/vm_1", {"caller": "x"})
    assert refused.status == 422
    assert (await api.patch("/v1/voicemails/vm_1", {"from_number": "+1"})).body["errors"][0]["rule"] == (
        "immutable"
    )


async def fetch(api: Api, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    sent["Authorization"] = "Bearer oi_sk_bootstrap-key-of-the-tests"
    address = f"{api.address}/v1/voicemails/vm_1/audio"
    async with api._session.request(method, address, headers=sent) as response:
        return response.status, response.headers, await response.read()


async def test_audio_whole_and_in_part(api: Api) -> None:
    await api.voicemail("vm_1", audio=AUDIO)
    status, headers, body = await fetch(api)
    assert (status, body, headers["Content-Type"]) == (200, AUDIO, "audio/wav")
    assert headers["Accept-Ranges"] == "bytes"
    etag, date = headers["ETag"], headers["Last-Modified"]
    status, headers, body = await fetch(api, Range="bytes=10-19")
    assert (status, body) == (206, AUDIO[10:20])
    assert headers["Content-Range"] == "bytes 10-19/1024"
    assert headers["Content-Length"] == "10"
    assert (await fetch(api, Range="bytes=-4"))[2] == AUDIO[-4:]
    assert (await fetch(api, Range="bytes=10-19", If_Range=etag))[0] == 206
    assert (await fetch(api, Range="bytes=10-19", If_Range=date))[0] == 206
    status, _, body = await fetch(api, Range="bytes=10-19", If_Range='"other"')
    assert (status, body) == (200, AUDIO)
    assert (await fetch(api, If_None_Match=etag))[0] == 304


async def test_audio_beyond_its_end(api: Api) -> None:
    await api.voicemail("vm_1", audio=AUDIO)
    status, headers, _ = await fetch(api, Range="bytes=1024-")
    assert (status, headers["Content-Range"]) == (416, "bytes */1024")
    assert headers["Content-Type"].startswith("application/problem+json")


async def test_head_of_audio(api: Api) -> None:
    await api.voicemail("vm_1", audio=AUDIO)
    status, headers, body = await fetch(api, "HEAD", Range="bytes=10-19")
    assert (status, headers["Content-Length"], body) == (200, "1024", b"")


async def test_audio_that_is_not_there(api: Api) -> None:
    await api.voicemail("vm_1")
    path = api.recordings / "2026-11-27" / "vm_1.wav"
    path.unlink()
    status, _, body = await fetch(api)
    assert status == 404
    assert b"its audio is not there" in body
    assert (await api.get("/v1/voicemails/vm_9/audio")).status == 404
    assert (await api.get("/v1/voicemails/vm_1/audio", key=None)).status == 401


async def test_deleting_takes_the_audio_along(api: Api) -> None:
    await api.voicemail("vm_1", audio=AUDIO)
    got = await api.get("/v1/voicemails/vm_1")
    assert (await api.delete("/v1/voicemails/vm_1", If_Match='"other"')).status == 412
    assert (await api.delete("/v1/voicemails/vm_1", If_Match=got.etag)).status == 204
    assert (await api.get("/v1/voicemails/vm_1")).status == 404
    assert not list(api.recordings.rglob("*.wav"))

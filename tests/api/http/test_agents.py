from __future__ import annotations

from typing import Any

import pytest

from routing.endpoint_rules import WITHHELD
from tests.api.http.rig import Api


async def test_an_agent_with_everything(api: Api) -> None:
    body: dict[str, Any] = {
        "name": "Sales agent",
        "endpoints": [
            {
                "url": "wss://agent.example.com/media",
                "protocol": "telnyx",
                "priority": 5,
                "weight": 20,
                "max_calls": 50,
                "region": "eu-west",
                "headers": {"X-Tenant": "acme", "Authorization": "Bearer hunter2"},
            },
            {"url": "sip:bot@192.0.2.10:5060;media=direct"},
        ],
        "voicemail_message": "Hello {{caller}}.",
    }
    made = await api.post("/v1/agents", body)
    assert made.status == 201
    assert made.headers["Location"] == f"/v1/agents/{made.body['id']}"
    got = await api.get(f"/v1/agents/{made.body['id']}")
    assert got.body == made.body
    assert got.body["id"].startswith("agt_")
    assert got.body["endpoints"][0]["headers"] == {"X-Tenant": "acme", "Authorization": WITHHELD}
    assert got.body["endpoints"][1]["priority"] == 10
    assert [each["region"] for each in got.body["endpoints"]] == ["eu-west", None]
    assert "hunter2" not in str(got.body)


async def test_an_id_of_ones_own(api: Api) -> None:
    await api.agent("agt_sales")
    again = await api.post("/v1/agents", {"id": "agt_sales", "name": "Other"})
    assert again.status == 409
    assert again.body["type"] == "/docs/problems#id-exists"


async def test_agents_are_listed_with_how_many_numbers_refer_to_them(agents: Api) -> None:
    await agents.number("+14155550100", agent_id="agt_sales")
    await agents.number("+14155550101", agent_id="agt_sales", inbound_routing={"agent_id": "agt_overflow"})
    page = (await agents.get("/v1/agents")).body
    assert [(item["id"], item["numbers"]) for item in page["items"]] == [
        ("agt_sales", 2),
        ("agt_overflow", 1),
    ]
    assert page["total"] == 2
    named = (await agents.get("/v1/agents?name=agt_overflow")).body
    assert [item["id"] for item in named["items"]] == ["agt_overflow"]


async def test_patch_replaces_endpoints_as_a_whole_and_keeps_the_rest(agents: Api) -> None:
    path = "/v1/agents/agt_sales"
    await agents.patch(path, {"voicemail_message": "Hello."})
    changed = await agents.patch(path, {"endpoints": [{"url": "sip:other@127.0.0.1"}]})
    assert [each["url"] for each in changed.body["endpoints"]] == ["sip:other@127.0.0.1"]
    assert changed.body["voicemail_message"] == "Hello."
    cleared = await agents.patch(path, {"voicemail_message": None})
    assert cleared.body["voicemail_message"] is None
    late = await agents.patch(path, {"name": "x"}, If_Match=changed.etag)
    assert late.status == 412


async def test_secret_headers_survive_other_changes_and_their_mask_is_refused(agents: Api) -> None:
    path = "/v1/agents/agt_sales"
    endpoint = {"url": "sip:bot@127.0.0.1", "headers": {"X-Api-Key": "hunter2"}}
    shown = (await agents.patch(path, {"endpoints": [endpoint]})).body["endpoints"]
    await agents.patch(path, {"name": "Renamed"})
    back = await agents.patch(path, {"endpoints": shown})
    assert back.status == 422
    assert back.body["errors"][0]["rule"] == "masked"


async def test_a_websockets_token_is_kept_and_never_shown(agents: Api) -> None:
    path = "/v1/agents/agt_sales"
    endpoint = {
        "url": "wss://agent.example.com/ws",
        "protocol": "telnyx",
        "auth_token": "hunter2",
        "options": {"encoding": "L16"},
    }
    answer = await agents.patch(path, {"endpoints": [endpoint]})
    (shown,) = answer.body["endpoints"]
    assert shown["auth_token"] and "hunter2" not in str(answer.body)
    assert (shown["protocol"], shown["options"]) == ("telnyx", {"encoding": "L16"})
    back = await agents.patch(path, {"endpoints": [shown]})
    assert (back.status, back.body["errors"][0]["field"]) == (422, "endpoints[0].auth_token")


@pytest.mark.parametrize(
    ("endpoint", "field"),
    [
        ({"url": "http://agent.example.com"}, "endpoints[0].url"),
        ({"url": "sip:bot@h", "protocol": "twilio"}, "endpoints[0].protocol"),
        ({"url": "wss://h/ws", "options": {"encoding": "L16"}}, "endpoints[0].options"),
        ({"url": "wss://h/ws", "protocol": "telnyx", "options": {"encoding": "MP3"}}, "endpoints[0].options"),
        ({"url": "sip:"}, "endpoints[0].url"),
        ({"url": "sip:bot@h", "priority": -1}, "endpoints[0].priority"),
        ({"url": "sip:bot@h", "weigth": 1}, "endpoints[0].weigth"),
        ({"url": "sip:bot@h", "protocol": "pigeon"}, "endpoints[0].protocol"),
        ({"url": "sip:bot@h", "headers": {"X-Bad": "a\r\nVia: x"}}, "endpoints[0].headers"),
    ],
)
async def test_endpoints_that_make_no_sense(api: Api, endpoint: dict[str, Any], field: str) -> None:
    answer = await api.post("/v1/agents", {"name": "x", "endpoints": [endpoint]})
    assert answer.status == 422, answer
    assert answer.body["errors"][0]["field"].startswith(field)
    assert answer.body["errors"][0]["fix"]


async def test_an_agent_that_numbers_refer_to_is_deleted_only_by_force(agents: Api) -> None:
    own = await agents.number("+14155550100", agent_id="agt_sales")
    fallback = await agents.number(
        "+14155550101",
        agent_id="agt_overflow",
        inbound_routing={
            "agent_id": "agt_sales",
            "fallback": {"agent_id": "agt_sales"},
            "voicemail_message": "Hi.",
        },
    )
    refused = await agents.delete("/v1/agents/agt_sales")
    assert refused.status == 409
    assert refused.body["numbers"] == [
        {"id": own["id"], "phone_number": "+14155550100"},
        {"id": fallback["id"], "phone_number": "+14155550101"},
    ]
    assert "force=true" in refused.body["detail"]
    assert (await agents.get("/v1/agents/agt_sales")).status == 200
    assert (await agents.delete("/v1/agents/agt_sales?force=true")).status == 204
    assert (await agents.get("/v1/agents/agt_sales")).status == 404
    assert (await agents.get(f"/v1/phone-numbers/{own['id']}")).body["agent_id"] is None
    left = (await agents.get(f"/v1/phone-numbers/{fallback['id']}")).body
    assert (left["agent_id"], left["inbound_routing"]) == ("agt_overflow", {"voicemail_message": "Hi."})


async def test_an_agent_that_nothing_refers_to_is_deleted(agents: Api) -> None:
    number = await agents.number("+14155550100", agent_id="agt_sales")
    await agents.patch(f"/v1/phone-numbers/{number['id']}", {"agent_id": "agt_overflow"})
    assert (await agents.delete("/v1/agents/agt_sales")).status == 204

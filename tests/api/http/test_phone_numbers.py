from __future__ import annotations

import asyncio

import pytest

from tests.api.http.rig import Api

ROUTING = {
    "agent_id": "agt_sales",
    "fallback": {"agent_id": "agt_overflow"},
    "voicemail_message": "Nobody is here.",
}


async def test_a_registered_number_is_as_it_was_sent_without_its_password(agents: Api) -> None:
    config = {"trunk_address": "acme.pstn.twilio.com", "auth_username": "u", "auth_password": "hunter2"}
    number = await agents.number(
        "+14155550100",
        friendly_name="Line",
        agent_id="agt_sales",
        inbound_routing=ROUTING,
        provider_config=config,
    )
    got = await agents.get(f"/v1/phone-numbers/{number['id']}")
    assert got.body == number
    assert got.body["provider_config"] == {
        "trunk_address": "acme.pstn.twilio.com",
        "auth_username": "u",
        "auth_password_set": True,
    }
    assert got.body["inbound_routing"] == ROUTING
    assert "hunter2" not in str(got.body)


async def test_the_same_number_twice_names_the_holder(agents: Api) -> None:
    number = await agents.number("+14155550100", agent_id="agt_sales")
    again = await agents.post("/v1/phone-numbers", {"phone_number": "+14155550100", "provider": "telnyx"})
    assert again.status == 409
    assert again.headers["Content-Type"] == "application/problem+json"
    assert (again.body["phone_number_id"], again.body["agent_id"]) == (number["id"], "agt_sales")
    assert number["id"] in again.body["detail"]


async def test_the_same_number_at_the_same_time_is_registered_once(agents: Api) -> None:
    body = {"phone_number": "+14155550100", "provider": "twilio"}
    answers = await asyncio.gather(*(agents.post("/v1/phone-numbers", body) for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 9


@pytest.mark.parametrize(
    ("body", "field", "rule", "fix"),
    [
        ({"provider": "twilio"}, "phone_number", "required", "E.164"),
        ({"phone_number": "4155550100", "provider": "twilio"}, "phone_number", "pattern", "+14155550100"),
        ({"phone_number": "+14155550100\n", "provider": "twilio"}, "phone_number", "pattern", "E.164"),
        ({"phone_number": "+14155550100", "provider": "twilo"}, "provider", "enum", "twilio"),
        (
            {"phone_number": "+14155550100", "provider": "twilio", "freindly_name": "x"},
            "freindly_name",
            "unknown",
            "friendly_name",
        ),
        (
            {
                "phone_number": "+14155550100",
                "provider": "twilio",
                "inbound_routing": {"fallback": {"agent": "a"}},
            },
            "inbound_routing.fallback.agent",
            "unknown",
            "agent_id",
        ),
        (
            {"phone_number": "+14155550100", "provider": "twilio", "agent_id": "agt_nobody"},
            "agent_id",
            "reference",
            "POST /v1/agents",
        ),
        (
            {"phone_number": "+14155550100", "provider": "twilio", "inbound_routing": {}},
            "inbound_routing.agent_id",
            "required",
            "agent_id",
        ),
        (
            {"phone_number": "+14155550100", "provider": "twilio", "credential_id": "crd_none"},
            "credential_id",
            "reference",
            "POST /v1/integrations",
        ),
        (
            {"phone_number": "+14155550100", "provider": "twilio", "friendly_name": "bell \x07"},
            "friendly_name",
            "characters",
            "remove",
        ),
    ],
)
async def test_what_is_wrong_is_told_by_field_rule_and_fix(
    agents: Api, body: dict[str, object], field: str, rule: str, fix: str
) -> None:
    answer = await agents.post("/v1/phone-numbers", body)
    assert answer.status == 422, answer
    assert answer.body["type"] == "/docs/problems#invalid"
    [error] = answer.body["errors"]
    assert (error["field"], error["rule"]) == (field, rule)
    assert fix in error["fix"]
    assert error["detail"]
    assert (await agents.get("/v1/phone-numbers")).body["total"] == 0


async def test_several_faults_are_told_at_once(agents: Api) -> None:
    answer = await agents.post(
        "/v1/phone-numbers",
        {
            "phone_number": "+14155550100",
            "provider": "twilio",
            "inbound_routing": {"agent_id": "no1", "fallback": {"agent_id": "no2"}},
        },
    )
    assert [error["field"] for error in answer.body["errors"]] == [
        "inbound_routing.agent_id",
        "inbound_routing.fallback.agent_id",
    ]


async def test_patch_merges_inbound_routing(agents: Api) -> None:
    number = await agents.number("+14155550100", inbound_routing=ROUTING)
    path = f"/v1/phone-numbers/{number['id']}"
    merged = await agents.patch(path, {"inbound_routing": {"voicemail_message": "Other."}})
    assert merged.body["inbound_routing"] == {**ROUTING, "voicemail_message": "Other."}
    cleared = await agents.patch(path, {"inbound_routing": {"fallback": None}})
    assert cleared.body["inbound_routing"] == {"agent_id": "agt_sales", "voicemail_message": "Other."}
    off = await agents.patch(path, {"inbound_routing": None})
    assert off.body["inbound_routing"] is None
    assert off.body["version"] == 4


async def test_patch_keeps_the_password_unless_it_is_sent(agents: Api) -> None:
    config = {"trunk_address": "acme.pstn.twilio.com", "auth_username": "u", "auth_password": "hunter2"}
    number = await agents.number("+14155550100", provider_config=config)
    path = f"/v1/phone-numbers/{number['id']}"
    changed = await agents.patch(path, {"provider_config": {"auth_username": "v"}})
    assert changed.body["provider_config"]["auth_password_set"] is True
    removed = await agents.patch(path, {"provider_config": {"auth_password": None}})
    assert removed.body["provider_config"] == {
        "trunk_address": "acme.pstn.twilio.com",
        "auth_username": "v",
        "auth_password_set": False,
    }


async def test_patch_refuses_what_cannot_change(agents: Api) -> None:
    number = await agents.number("+14155550100")
    path = f"/v1/phone-numbers/{number['id']}"
    answer = await agents.patch(path, {"phone_number": "+14155550101", "agent_id": "agt_sales"})
    assert answer.status == 422
    assert answer.body["errors"][0]["rule"] == "immutable"
    assert (await agents.get(path)).body == number
    assert (await agents.patch(path, [])).status == 422
    assert (await agents.patch(path, {"inbound_routing": {"voicemail": None}})).status == 422


async def test_a_patch_meant_for_another_state_is_refused(agents: Api) -> None:
    number = await agents.number("+14155550100")
    path = f"/v1/phone-numbers/{number['id']}"
    etag = (await agents.get(path)).etag
    first = await agents.patch(path, {"agent_id": "agt_sales"}, If_Match=etag)
    assert first.status == 200
    assert first.etag != etag
    late = await agents.patch(path, {"agent_id": "agt_overflow"}, If_Match=etag)
    assert late.status == 412
    assert first.etag in late.body["detail"]
    assert (await agents.delete(path, If_Match=etag)).status == 412
    assert (await agents.get(path)).body["agent_id"] == "agt_sales"
    assert (await agents.patch(path, {"agent_id": None}, If_Match="*")).status == 200


async def test_of_concurrent_changes_to_one_state_one_wins(agents: Api) -> None:
    number = await agents.number("+14155550100")
    path = f"/v1/phone-numbers/{number['id']}"
    etag = (await agents.get(path)).etag
    changes = [agents.patch(path, {"friendly_name": f"{each}"}, If_Match=etag) for each in range(8)]
    statuses = [answer.status for answer in await asyncio.gather(*changes)]
    assert sorted(statuses) == [200] + [412] * 7


async def test_unchanged_resources_are_answered_304(agents: Api) -> None:
    number = await agents.number("+14155550100")
    path = f"/v1/phone-numbers/{number['id']}"
    etag = (await agents.get(path)).etag
    unchanged = await agents.get(path, If_None_Match=etag)
    assert (unchanged.status, unchanged.body) == (304, "")
    await agents.patch(path, {"friendly_name": "x"})
    assert (await agents.get(path, If_None_Match=etag)).status == 200


async def test_inbound_routing_is_a_resource_of_its_own(agents: Api) -> None:
    number = await agents.number("+14155550100")
    path = f"/v1/phone-numbers/{number['id']}/inbound-routing"
    missing = await agents.get(path)
    assert missing.status == 404
    assert "outbound-only" in missing.body["detail"]
    made = await agents.post(path, ROUTING)
    assert (made.status, made.body) == (201, ROUTING)
    replaced = await agents.post(path, {"agent_id": "agt_overflow"})
    assert replaced.body == {"agent_id": "agt_overflow"}
    assert (await agents.get(path)).body == {"agent_id": "agt_overflow"}
    assert (await agents.delete(path)).status == 204
    assert (await agents.get(path)).status == 404
    assert (await agents.get(f"/v1/phone-numbers/{number['id']}")).body["inbound_routing"] is None


async def test_what_was_deleted_is_gone_and_can_be_registered_again(agents: Api) -> None:
    number = await agents.number("+14155550100")
    path = f"/v1/phone-numbers/{number['id']}"
    assert (await agents.delete(path)).status == 204
    for answer in (await agents.get(path), await agents.delete(path), await agents.patch(path, {})):
        assert answer.status == 404
        assert answer.body["type"] == "/docs/problems#not-found"
    again = await agents.number("+14155550100")
    assert again["id"] != number["id"]


async def test_answer_first_and_recording_are_kept_changed_and_taken_away(agents: Api) -> None:
    routing = {"agent_id": "agt_sales", "answer_first": True, "recording": "all"}
    number = await agents.number("+14155550100", inbound_routing=routing)
    assert number["inbound_routing"] == routing
    path = f"/v1/phone-numbers/{number['id']}"
    changed = await agents.patch(path, {"inbound_routing": {"recording": "off"}})
    assert changed.body["inbound_routing"] == routing | {"recording": "off"}
    gone = await agents.patch(path, {"inbound_routing": {"recording": None, "answer_first": False}})
    assert gone.body["inbound_routing"] == {"agent_id": "agt_sales"}
    wrong = await agents.patch(path, {"inbound_routing": {"recording": "everything"}})
    assert (wrong.status, wrong.body["errors"][0]["field"]) == (422, "inbound_routing.recording")

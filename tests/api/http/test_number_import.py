from __future__ import annotations

from typing import Any

from api.types import MAX_IMPORT
from tests.api.http.rig import Api


def items(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"phone_number": f"+1415555{n:04}", "provider": "twilio", **fields} for n in range(count)]


async def test_many_numbers_at_once(agents: Api) -> None:
    body = {"items": items(MAX_IMPORT, inbound_routing={"agent_id": "agt_sales"})}
    first = await agents.post("/v1/phone-numbers/import", body)
    assert first.body == {
        "created": MAX_IMPORT,
        "updated": 0,
        "unchanged": 0,
        "skipped": 0,
        "failed": 0,
        "errors": [],
    }
    assert (await agents.get("/v1/phone-numbers?agent_id=agt_sales")).body["total"] == MAX_IMPORT
    again = await agents.post("/v1/phone-numbers/import", body)
    assert again.body["unchanged"] == MAX_IMPORT


async def test_faulty_ones_leave_the_others_alone(agents: Api) -> None:
    sent = items(2)
    sent += [
        {"phone_number": "0815", "provider": "twilio"},
        {"phone_number": "+14155559001", "provider": "twilio", "agent_id": "agt_nobody"},
        {"phone_number": "+14155550000", "provider": "twilio"},
        {"phone_number": "+14155559002", "provider": "twilio", "colour": "red"},
    ]
    answer = await agents.post("/v1/phone-numbers/import", {"items": sent})
    assert (answer.status, answer.body["created"], answer.body["failed"]) == (200, 2, 4)
    told = [(error["index"], error["field"], error["rule"]) for error in answer.body["errors"]]
    assert told == [
        (2, "phone_number", "pattern"),
        (3, "agent_id", "reference"),
        (4, "phone_number", "unique"),
        (5, "colour", "unknown"),
    ]
    assert all(error["fix"] for error in answer.body["errors"])


async def test_what_is_there_already(agents: Api) -> None:
    number = await agents.number("+14155550000", friendly_name="Old", agent_id="agt_sales")
    changed = {"items": [{"phone_number": "+14155550000", "provider": "twilio", "friendly_name": "New"}]}
    path = "/v1/phone-numbers/import"
    refused = await agents.post(path, changed)
    assert (refused.body["failed"], refused.body["errors"][0]["rule"]) == (1, "unique")
    assert number["id"] in refused.body["errors"][0]["detail"]
    skipped = await agents.post(path, {**changed, "on_conflict": "skip"})
    assert skipped.body["skipped"] == 1
    assert (await agents.get(f"/v1/phone-numbers/{number['id']}")).body["friendly_name"] == "Old"
    updated = await agents.post(path, {**changed, "on_conflict": "update"})
    assert updated.body["updated"] == 1
    assert (await agents.get(f"/v1/phone-numbers/{number['id']}")).body["friendly_name"] == "New"
    moved = {"items": [{"phone_number": "+14155550000", "provider": "telnyx"}], "on_conflict": "update"}
    assert (await agents.post(path, moved)).body["errors"][0]["field"] == "provider"


async def test_a_dry_run_changes_nothing(agents: Api) -> None:
    body = {"items": items(3), "dry_run": True}
    answer = await agents.post("/v1/phone-numbers/import", body, Idempotency_Key="dry")
    assert answer.body["created"] == 3
    assert (await agents.get("/v1/phone-numbers")).body["total"] == 0


async def test_ids_can_be_brought_along_but_not_taken_twice(agents: Api) -> None:
    sent = items(2)
    sent[0]["id"] = "phn_mine"
    await agents.post("/v1/phone-numbers/import", {"items": sent})
    assert (await agents.get("/v1/phone-numbers/phn_mine")).body["phone_number"] == "+14155550000"
    taken = {"items": [{"id": "phn_mine", "phone_number": "+14155559000", "provider": "twilio"}]}
    answer = await agents.post("/v1/phone-numbers/import", taken)
    assert answer.body["errors"][0]["field"] == "id"


async def test_an_import_has_a_limit(api: Api) -> None:
    answer = await api.post("/v1/phone-numbers/import", {"items": items(MAX_IMPORT + 1)})
    assert answer.status == 422
    assert answer.body["errors"][0]["field"] == "items"

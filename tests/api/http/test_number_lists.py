from __future__ import annotations

from typing import Any

import pytest

from tests.api.http.rig import Api


@pytest.fixture
async def numbers(agents: Api) -> list[dict[str, Any]]:
    """Seven numbers, of two providers and two agents, one inactive."""
    return [
        await agents.number(
            f"+1415555010{index}",
            provider="telnyx" if index % 3 == 0 else "twilio",
            agent_id="agt_sales" if index < 5 else None,
            inbound_routing={"agent_id": "agt_overflow"} if index == 6 else None,
            status="inactive" if index == 4 else "active",
        )
        for index in range(7)
    ]


async def test_pages_by_offset(agents: Api, numbers: list[dict[str, Any]]) -> None:
    first = await agents.get("/v1/phone-numbers?limit=3")
    assert first.body == {"items": numbers[:3], "total": 7, "limit": 3, "offset": 0}
    last = await agents.get("/v1/phone-numbers?limit=3&offset=6")
    assert last.body["items"] == numbers[6:]
    beyond = await agents.get("/v1/phone-numbers?offset=100")
    assert beyond.body == {"items": [], "total": 7, "limit": 20, "offset": 100}


async def test_pages_by_cursor_miss_nothing_while_numbers_come_and_go(
    agents: Api, numbers: list[dict[str, Any]]
) -> None:
    seen, cursor = [], ""
    while True:
        page = (await agents.get(f"/v1/phone-numbers/cursor?limit=2{cursor}")).body
        seen += [item["phone_number"] for item in page["items"]]
        if not page["has_more"]:
            assert page["next_cursor"] is None
            break
        if len(seen) == 4:
            await agents.delete(f"/v1/phone-numbers/{numbers[0]['id']}")
            await agents.number("+14155550199")
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == [number["phone_number"] for number in numbers] + ["+14155550199"]


@pytest.mark.parametrize(
    ("query", "indexes"),
    [
        ("phone_number=%2B14155550102", [2]),
        ("phone_number=+14155550102", [2]),  # a plus in a query means a space
        ("phone_number=14155550102", [2]),
        ("provider=telnyx", [0, 3, 6]),
        ("agent_id=agt_sales", [0, 1, 2, 3, 4]),
        ("agent_id=agt_overflow", [6]),
        ("status=inactive", [4]),
        ("agent_id=agt_sales&status=active&provider=twilio", [1, 2]),
        ("agent_id=agt_nobody", []),
        ("updated_since=2020-01-01T00:00:00Z", [0, 1, 2, 3, 4, 5, 6]),
        ("updated_since=2100-01-01T00:00:00%2B01:00", []),
    ],
)
async def test_filters(agents: Api, numbers: list[dict[str, Any]], query: str, indexes: list[int]) -> None:
    wanted = [numbers[index] for index in indexes]
    page = await agents.get(f"/v1/phone-numbers?{query}")
    assert (page.body["items"], page.body["total"]) == (wanted, len(wanted))
    by_cursor = await agents.get(f"/v1/phone-numbers/cursor?{query}")
    assert by_cursor.body["items"] == wanted


async def test_updated_since_tells_what_changed(agents: Api, numbers: list[dict[str, Any]]) -> None:
    changed = (await agents.patch(f"/v1/phone-numbers/{numbers[2]['id']}", {"friendly_name": "x"})).body
    since = changed["updated_at"]
    page = await agents.get(f"/v1/phone-numbers?updated_since={since}")
    assert changed in page.body["items"]
    assert numbers[0] not in page.body["items"]


async def test_totals_stay_true(agents: Api, numbers: list[dict[str, Any]]) -> None:
    async def total(query: str) -> int:
        return int((await agents.get(f"/v1/phone-numbers?{query}")).body["total"])

    await agents.patch(f"/v1/phone-numbers/{numbers[0]['id']}", {"agent_id": "agt_overflow"})
    await agents.patch(f"/v1/phone-numbers/{numbers[1]['id']}", {"status": "inactive"})
    await agents.delete(f"/v1/phone-numbers/{numbers[2]['id']}")
    assert await total("agent_id=agt_sales") == 3
    assert await total("agent_id=agt_overflow") == 2
    assert await total("status=inactive") == 2
    assert await total("provider=twilio") == 3
    assert await total("") == 6


async def test_an_unchanged_list_is_answered_304(agents: Api, numbers: list[dict[str, Any]]) -> None:
    etag = (await agents.get("/v1/phone-numbers")).etag
    assert (await agents.get("/v1/phone-numbers", If_None_Match=etag)).status == 304
    assert (await agents.get("/v1/phone-numbers?limit=5", If_None_Match=etag)).status == 200
    await agents.patch(f"/v1/phone-numbers/{numbers[6]['id']}", {"friendly_name": "x"})
    assert (await agents.get("/v1/phone-numbers", If_None_Match=etag)).status == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("offset=-1", "offset"),
        ("offset=100001", "offset"),
        ("limt=5", "limt"),
        ("limit=5&limit=6", "limit"),
        ("status=on", "status"),
        ("updated_since=yesterday", "updated_since"),
        ("updated_since=2026-11-23T12:00:00", "updated_since"),
    ],
)
async def test_queries_that_make_no_sense(api: Api, query: str, field: str) -> None:
    answer = await api.get(f"/v1/phone-numbers?{query}")
    assert answer.status == 422
    assert answer.body["errors"][0]["field"] == field
    assert answer.body["errors"][0]["fix"]


@pytest.mark.parametrize("cursor", ["x", "czE9", "c-1", "%00", "MTI", "cw", "czEyMzQ1Njc4OTAxMjM0NTY3ODkw"])
async def test_cursors_that_are_not_ours(api: Api, cursor: str) -> None:
    answer = await api.get(f"/v1/phone-numbers/cursor?cursor={cursor}")
    assert answer.status == 422
    assert answer.body["errors"][0]["field"] == "cursor"

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.store.tables import Base
from tests.api.http.rig import Api

BODY = {
    "name": "My Twilio Account",
    "provider": "twilio",
    "api_key": "0123456789abcdef0123456789abcdef",
    "metadata": {"account_sid": "AC00000000000000000000000000000000", "sip_trunk": "acme.pstn.twilio.com"},
}


@pytest.mark.parametrize("root", ["/v1/integrations", "/v1/credentials"])
async def test_credentials_go_in_and_never_come_out(api: Api, root: str) -> None:
    made = await api.post(root, BODY)
    assert made.status == 201
    assert made.body["id"].startswith("crd_")
    path = f"{root}/{made.body['id']}"
    changed = await api.patch(
        path, {"api_key": "fedcba9876543210fedcba9876543210", "metadata": {"sip_trunk": None}}
    )
    assert changed.body["masked_key"].endswith("3210")
    assert changed.body["metadata"] == {"account_sid": "AC00000000000000000000000000000000"}
    for answer in (made, changed, await api.get(path), await api.get(root)):
        assert "0123456789abcdef" not in str(answer.body)
        assert "fedcba9876543210f" not in str(answer.body)
    other = "/v1/credentials" if root == "/v1/integrations" else "/v1/integrations"
    assert (await api.get(other)).body["items"] == (await api.get(root)).body["items"]
    assert (await api.delete(path)).status == 204
    assert (await api.get(path)).status == 404


async def test_a_short_secret_shows_nothing_of_itself(api: Api) -> None:
    made = await api.post("/v1/integrations", {**BODY, "api_key": "short"})
    assert "hort" not in made.body["masked_key"]


async def test_the_store_holds_no_secret_in_clear(agents: Api) -> None:
    await agents.post("/v1/integrations", BODY, Idempotency_Key="one")
    await agents.number("+14155550100", provider_config={"auth_password": "hunter2-hunter2"})
    endpoint = {"url": "sip:bot@127.0.0.1", "headers": {"Authorization": "Bearer hunter3-hunter3"}}
    await agents.patch("/v1/agents/agt_sales", {"endpoints": [endpoint]})

    def rows(session: Session) -> str:
        tables = Base.metadata.tables.values()
        return str([tuple(row) for table in tables for row in session.execute(select(table))])

    stored = await agents.service.database.read(rows)
    assert "+14155550100" in stored
    for secret in ("0123456789abcdef0123", "hunter2-hunter2", "hunter3-hunter3"):
        assert secret not in stored


async def test_credentials_in_use_are_deleted_only_by_force(agents: Api) -> None:
    made = (await agents.post("/v1/integrations", BODY)).body
    number = await agents.number("+14155550100", credential_id=made["id"])
    refused = await agents.delete(f"/v1/integrations/{made['id']}")
    assert refused.status == 409
    assert refused.body["numbers"] == [{"id": number["id"], "phone_number": "+14155550100"}]
    assert (await agents.delete(f"/v1/integrations/{made['id']}?force=true")).status == 204
    assert (await agents.get(f"/v1/phone-numbers/{number['id']}")).body["credential_id"] is None


async def test_a_provider_that_we_do_not_know(api: Api) -> None:
    answer = await api.post("/v1/integrations", {**BODY, "provider": "telnix"})
    assert answer.status == 422
    assert "telnyx" in answer.body["errors"][0]["fix"]
    assert BODY["api_key"] not in str(answer.body)

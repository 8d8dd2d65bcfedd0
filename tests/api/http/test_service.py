"""Starting with what is there, and what must stop a start."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from api.secret_keys import KEY_FILE, SETTLE_SECONDS
from api.service import ApiService, ApiStartError
from tests.api.http.rig import Api, running_api

SEED = """
[[agents]]
id = "agt_demo"
endpoints = [{ url = "sip:demo@127.0.0.1:5070" }]

[[numbers]]
phone_number = "+14155550100"
inbound_routing = { agent_id = "agt_demo" }
"""


async def fails(directory: Path, **options: object) -> str:
    service = ApiService(directory, version="0", **options)  # type: ignore[arg-type]
    with pytest.raises(ApiStartError) as failed:
        await service.open()
    return str(failed.value)


async def test_an_empty_store_is_seeded_once(tmp_path: Path) -> None:
    seed = tmp_path / "numbers.toml"
    seed.write_text(SEED)
    async with running_api(tmp_path, seed_file=seed) as api:
        [item] = (await api.get("/v1/phone-numbers")).body["items"]
        assert (item["phone_number"], item["provider"]) == ("+14155550100", "other")
        assert (await api.delete(f"/v1/phone-numbers/{item['id']}")).status == 204
    async with running_api(tmp_path, seed_file=seed) as api:
        assert (await api.get("/v1/phone-numbers")).body["total"] == 0, "what was deleted stays deleted"


async def test_a_seed_leaves_a_store_alone_that_has_routes(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        await api.agent("agt_own")
    seed = tmp_path / "numbers.toml"
    seed.write_text(SEED)
    async with running_api(tmp_path, seed_file=seed) as api:
        assert [item["id"] for item in (await api.get("/v1/agents")).body["items"]] == ["agt_own"]


async def test_a_seed_that_is_wrong_stops_the_start(tmp_path: Path) -> None:
    seed = tmp_path / "numbers.toml"
    seed.write_text(SEED.replace("+1415", "1415"))
    assert (await fails(tmp_path, seed_file=seed)).startswith(f"api.seed_file: {seed}:7")
    assert "no such file" in (await fails(tmp_path, seed_file=tmp_path / "none.toml")).lower()


async def test_the_key_file_is_private_and_needed(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        await api.agent("agt_sales")
    path = tmp_path / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    assert "chmod 600" in await fails(tmp_path)
    path.unlink()
    told = await fails(tmp_path)
    assert "api.secret_key" in told
    assert "another key" in told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"secret_key": "not base64!"}, "api.secret_key"),
        ({"secret_key": "c2hvcnQ="}, "api.secret_key"),
        ({"database_url": "mysql://u:hunter2@h/d"}, "api.database_url"),
        ({"database_url": "postgresql+asyncpg://u:hunter2@127.0.0.1:1/d"}, "api.database_url"),
        ({"database_url": "::"}, "api.database_url"),
    ],
)
async def test_a_start_that_cannot_be_says_which_key_to_mend(
    tmp_path: Path, options: dict[str, str], told: str
) -> None:
    message = await fails(tmp_path, **options)
    assert told in message
    assert "hunter2" not in message


async def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert "data" in await fails(tmp_path / "data")


async def secrets_work(api: Api, agent_id: str) -> None:
    number = (await api.get(f"/v1/phone-numbers?agent_id={agent_id}")).body["items"][0]
    config = {"provider_config": {"auth_username": "changed"}}
    changed = await api.patch(f"/v1/phone-numbers/{number['id']}", config)
    assert changed.body["provider_config"]["auth_password_set"] is True


async def test_the_key_is_rotated_while_the_api_serves(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        await api.agent("agt_sales")
        await api.number("+14155550100", agent_id="agt_sales", provider_config={"auth_password": "hunter2"})
        integration = {"name": "x", "provider": "telnyx", "api_key": "hunter3"}
        await api.post("/v1/integrations", integration)
        before = (tmp_path / KEY_FILE).read_bytes()
        other = ApiService(tmp_path, version="0")
        await other.open()
        waited = []

        async def settle(seconds: float) -> None:
            waited.append(seconds)
            await secrets_work(api, "agt_sales")

        count = await other.rotation().rotate_file(tmp_path / KEY_FILE, sleep=settle)
        assert waited == [SETTLE_SECONDS, SETTLE_SECONDS], "other processes take the file over in between"
        assert count == 4, "the agent, also in the outbox, the number, the integration"
        assert before not in (tmp_path / KEY_FILE).read_bytes()
        await other.close()
    async with running_api(tmp_path) as api:
        await secrets_work(api, "agt_sales")


async def test_a_configured_key_is_rotated_by_naming_both(tmp_path: Path) -> None:
    old, new = "A" * 43 + "=", "B" * 42 + "A="
    async with running_api(tmp_path, secret_key=old) as api:
        await api.agent("agt_sales")
        await api.number("+14155550100", agent_id="agt_sales", provider_config={"auth_password": "hunter2"})
    async with running_api(tmp_path, secret_key=f"{new},{old}") as api:
        assert await api.service.rotation().reseal() == 3
    async with running_api(tmp_path, secret_key=new) as api:
        await secrets_work(api, "agt_sales")
    assert "another key" in await fails(tmp_path, secret_key=old)

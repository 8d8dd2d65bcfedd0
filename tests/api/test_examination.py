"""What is found before the API is started, on each sort of store; nothing is changed by looking."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from sqlalchemy import text

from api.examination import examine
from api.secret_box import SecretKeyError
from api.secret_keys import KEY_FILE
from api.store.database import StoreUnavailable
from api.store.schema import SchemaError
from tests.api.conftest import Store
from tests.api.http.rig import running_api

OTHER_KEY = base64.b64encode(bytes(range(32))).decode()


async def used(store: Store, directory: Path) -> None:
    """Have a store that was in use, with its key file in a directory."""
    async with running_api(directory, database_url=store.url) as api:
        await api.agent("agt_sales")
        await api.number("+14155550100", agent_id="agt_sales")


async def test_a_store_that_was_never_used(new_store: Store, tmp_path: Path) -> None:
    told = await examine(tmp_path / "data", new_store.url)
    assert "at the first start" in told
    assert not (tmp_path / "data").exists()


async def test_a_store_in_use(store: Store, tmp_path: Path) -> None:
    await used(store, tmp_path)
    assert (await examine(tmp_path, store.url)).endswith(": 1 numbers, 1 agents")


async def test_a_key_that_is_gone_or_anothers_is_told(store: Store, tmp_path: Path) -> None:
    await used(store, tmp_path)
    with pytest.raises(SecretKeyError, match="another key"):
        await examine(tmp_path, store.url, OTHER_KEY)
    with pytest.raises(SecretKeyError, match="openssl rand"):
        await examine(tmp_path, store.url, "short")
    (tmp_path / KEY_FILE).unlink()
    with pytest.raises(SecretKeyError, match="another key"):
        await examine(tmp_path, store.url)
    assert not (tmp_path / KEY_FILE).exists(), "a new key was made by looking"


async def test_a_store_of_a_newer_version(store: Store, tmp_path: Path) -> None:
    await used(store, tmp_path)
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    async with Store(store.backend, store.url, tmp_path).opened() as opened:
        await opened.write(lambda tx: tx.session.execute(newer))
    with pytest.raises(SchemaError, match="newer version"):
        await examine(tmp_path, store.url)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql+asyncpg://nobody@127.0.0.1:9/none", "cannot be reached"),
        ("mysql://host/name", "cannot use mysql"),
        ("nonsense", "write it as"),
    ],
)
async def test_a_database_that_cannot_be_used(tmp_path: Path, url: str, told: str) -> None:
    with pytest.raises(StoreUnavailable, match=told):
        await examine(tmp_path, url)

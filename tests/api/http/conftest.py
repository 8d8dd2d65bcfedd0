from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.conftest import Store
from tests.api.http.rig import Api, running_api


@pytest.fixture
async def api(store: Store, tmp_path: Path) -> AsyncIterator[Api]:
    """The API on each sort of store."""
    async with running_api(tmp_path, database_url=store.url) as running:
        yield running


@pytest.fixture
async def agents(api: Api) -> Api:
    """Two agents are there."""
    await api.agent("agt_sales")
    await api.agent("agt_overflow")
    return api

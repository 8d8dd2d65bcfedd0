"""The list of gateways over HTTP."""

from __future__ import annotations

from pathlib import Path

from redis.exceptions import ConnectionError as RedisConnectionError

from routing.nodes import NodeShown
from tests.api.http.rig import running_api

NODE = NodeShown(
    name="one:5060",
    state="up",
    last_seen=0.5,
    version="1.0",
    started_at=1_795_780_800.0,
    address="192.0.2.1:5060",
    region="eu",
    calls=3,
    revision=7,
    behind=0,
    sync_age=0.2,
    incarnation="a1",
)


class Directory:
    away = False

    async def nodes(self) -> list[NodeShown]:
        if self.away:
            raise RedisConnectionError("refused")
        return [NODE]


async def test_nodes_are_listed_and_redis_may_be_away(tmp_path: Path) -> None:
    directory = Directory()
    async with running_api(tmp_path, nodes=directory) as api:
        answer = await api.get("/v1/nodes")
        assert answer.status == 200
        (node,) = answer.body["items"]
        assert (node["name"], node["state"], node["calls"], node["behind"]) == ("one:5060", "up", 3, 0)
        assert (await api.get("/v1/nodes", key=None)).status == 401
        described = (await api.get("/openapi.json", key=None)).body
        assert described["paths"]["/v1/nodes"]["get"]["operationId"] == "listNodes"
        directory.away = True
        answer = await api.get("/v1/nodes")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert "refused" in answer.body["detail"]


async def test_where_nobody_knows_them_there_is_no_such_operation(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        assert (await api.get("/v1/nodes")).status == 404

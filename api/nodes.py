"""The operation on nodes: which gateways there are, and how they fare."""

from __future__ import annotations

from typing import Final, Protocol

from msgspec import Struct
from redis.exceptions import RedisError

from api.operations import Operation, Reply, Request
from api.problems import Problem
from routing.nodes import NodeShown

TAG: Final = "Gateway"

RETRY_SECONDS: Final = 5
"""After which Redis may be back."""


class NodeList(Struct, frozen=True):
    """The gateways that share one Redis, by name."""

    items: list[NodeShown]


class NodeDirectory(Protocol):
    """Fulfilled by `routing.nodes.NodeRegistry`."""

    async def nodes(self) -> list[NodeShown]:
        """All that there are. Raises redis.RedisError or OSError."""


class Nodes:
    """What can be asked about nodes.

    Args:
        directory: who knows them.

    """

    def __init__(self, directory: NodeDirectory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        """All of them."""
        return [
            Operation(
                id="listNodes",
                method="GET",
                path="/v1/nodes",
                summary="List the gateways of this deployment, those among them that died lately",
                tag=TAG,
                scope="read",
                act=self.list,
                response=NodeList,
            )
        ]

    async def list(self, _request: Request) -> Reply:
        """List nodes."""
        try:
            return Reply(NodeList(await self._directory.nodes()))
        except (RedisError, OSError, TimeoutError) as error:
            headers = {"Retry-After": str(RETRY_SECONDS)}
            text = f"Redis, which knows the nodes, does not answer: {error}"
            raise Problem("unavailable", text, headers=headers) from None

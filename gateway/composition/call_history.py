"""The operations on calls, and their history, where no API has them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from gateway.composition.background import Background
from gateway.config import Settings
from gateway.faults import StartError
from gateway.operator_key import operator_key
from routing.nodes import NodeRegistry

if TYPE_CHECKING:
    from gateway.api_service import CallsService, LiveGateway


async def open_call_history(
    settings: Settings,
    registry: CollectorRegistry,
    node: LiveGateway,
    nodes: NodeRegistry,
    background: Background,
) -> CallsService:
    """Open the store of calls in the data directory, and write to it from now on. Raises StartError."""
    from gateway.api_service import FAILURES, make_calls_service

    key = await asyncio.to_thread(operator_key, settings.data.dir)
    calls = make_calls_service(settings, registry, node, key, nodes)
    try:
        await calls.open()
    except FAILURES as error:
        raise StartError(f"data.dir: calls.sqlite: {error}") from error
    background.push_async_callback(calls.close)
    background.run(calls.run, "history")
    return calls

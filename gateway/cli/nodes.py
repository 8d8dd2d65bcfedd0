"""`voice-gateway nodes`: which gateways there are, and how they fare."""

from __future__ import annotations

import time
from typing import Any

from gateway.cli.api_client import ApiTarget
from gateway.cli.gateway_client import with_gateway
from gateway.cli.output import print_list

OLD_SECONDS = 5.0
"""From which on the age of a node's routes is shown: they are looked at every second."""

COLUMNS = ("node", "state", "calls", "region", "version", "up for", "heard of", "routes", "address")


def run(target: ApiTarget, *, as_json: bool) -> int:
    """Print them; 0 if none is gone, 1 if one is."""
    items = with_gateway(target, lambda api: api.request("GET", "/nodes"))["items"]
    gone = sum(each["state"] == "gone" for each in items)
    told = f"; {gone} gone without a goodbye" if gone else ""
    print_list(items, COLUMNS, _row, caption=f"{len(items)} nodes{told}", as_json=as_json)
    return 1 if gone else 0


def _row(node: dict[str, Any]) -> tuple[object, ...]:
    return (
        node["name"],
        node["state"],
        node["calls"],
        node["region"],
        node["version"],
        span(time.time() - node["started_at"]),
        f"{node['last_seen']:.0f} s ago",
        routes(node),
        node["address"],
    )


def routes(node: dict[str, Any]) -> str:
    """How current a node's routes are."""
    if node["sync_age"] is None:
        return "none"
    if node["behind"] is None:
        return "of another data set"
    told = [f"{node['behind']} changes behind"] if node["behind"] else []
    told += [f"{node['sync_age']:.0f} s old"] if node["sync_age"] >= OLD_SECONDS else []
    return ", ".join(told) or "current"


def span(seconds: float) -> str:
    """A length of time in its two largest units; a clock that is behind makes none of it."""
    seconds = max(0.0, seconds)
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"

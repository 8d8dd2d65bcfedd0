"""The gateways that share one Redis."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.web.console.html import Html, html, table
from gateway.web.console.words import badge, clock
from routing.nodes import NodeShown

MAX_NODES = 1_000
"""Shown on a page, those in trouble first."""

OLD_SECONDS = 5.0
"""From which on the age of a node's routes is shown: they are looked at every second."""


def nodes_body(nodes: Sequence[NodeShown]) -> Html:
    """All of them, those that are gone first."""
    ordered = sorted(nodes, key=lambda node: (node.state != "gone", node.name))
    heads = ("node", "state", "calls", "region", "version", "since", "heard of", "routes", "address")
    calls = sum(node.calls for node in nodes if node.state != "gone")
    rest = len(ordered) - MAX_NODES
    return html(
        "<p>{} nodes with {} calls.</p>{}{}",
        *(len(nodes), calls, table("Nodes", heads, [_node(node) for node in ordered[:MAX_NODES]])),
        html("<p>… and {} more.</p>", rest) if rest > 0 else None,
    )


def _node(node: NodeShown) -> Html:
    return html(
        '<tr><th scope="row">{}</th><td>{}</td><td class="number">{}</td><td>{}</td><td>{}</td><td>{}</td>'
        "<td>{}</td><td>{}</td><td>{}</td></tr>",
        *(node.name, badge(node.state), node.calls, node.region, node.version, clock(node.started_at)),
        *(f"{node.last_seen:.0f} s ago", _routes(node), node.address),
    )


def _routes(node: NodeShown) -> str:
    if node.sync_age is None:
        return "none"
    if node.behind is None:
        return "of another data set"
    told = [f"{node.behind} changes behind"] if node.behind else []
    told += [f"{node.sync_age:.0f} s old"] if node.sync_age >= OLD_SECONDS else []
    return ", ".join(told) or "current"

"""`voice-gateway top`: the live calls of a gateway, in a terminal."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gateway.cli.api_client import ApiClient, ApiTarget
from gateway.cli.call_lines import call_of, length
from gateway.cli.gateway_client import with_gateway
from gateway.cli.output import console
from routing.call_records import CallShown

STYLES: Final = {"talking": "green", "ringing": "yellow", "waiting": "yellow", "voicemail": "magenta"}

POOR_MOS, FAIR_MOS = 3.1, 3.6
"""ITU-T G.109: below, many users are dissatisfied, or some."""


def run(target: ApiTarget, *, interval: float, once: bool) -> None:
    """Show until Ctrl-C, or once. Raises UsageError."""
    out = console()

    async def look(api: ApiClient) -> Group:
        live = await api.request("GET", "/calls/live")
        state = await api.request("GET", "/drain")
        return page(live, state, out)

    async def work(api: ApiClient) -> None:
        if once:
            out.print(await look(api))
            return
        with Live(await look(api), console=out, screen=out.is_terminal, auto_refresh=False) as shown:
            while True:
                await asyncio.sleep(interval)
                shown.update(await look(api), refresh=True)

    with_gateway(target, work)


def page(live: Any, state: Any, out: Console) -> Group:
    """What is shown: a line of sums, and as many calls as the terminal has lines for, the oldest first."""
    calls = [call_of(each) for each in live["items"]]
    by_state: dict[str, int] = {}
    for call in calls:
        by_state[call.state] = by_state.get(call.state, 0) + 1
    sums = ", ".join(f"{count} {name}" for name, count in sorted(by_state.items())) or "none"
    head = Text.assemble(
        (f"{live['node']}  ", "bold"),
        f"{len(calls)} calls: {sums}",
        ("  DRAINING" if state["draining"] else "", "bold red"),
    )
    room = max(1, out.size.height - 5) if out.is_terminal else len(calls)
    table = Table(box=None, pad_edge=False, expand=out.is_terminal)
    for column in ("state", "carrier", "from", "to", "plan", "length", "MOS", "id"):
        table.add_column(column, no_wrap=True)
    for call in calls[:room]:
        table.add_row(*_cells(call))
    rest = [Text(f"… and {len(calls) - room} more", style="dim")] if len(calls) > room else []
    return Group(head, Text(), table, *rest)


def _cells(call: CallShown) -> tuple[str, ...]:
    style = STYLES.get(call.state, "white")
    return (
        f"[{style}]{call.state}[/{style}]",
        escape(call.carrier),
        escape(call.caller or "withheld"),
        escape(call.number or call.dialled),
        f"{call.position}/{len(call.plan)} {escape(call.destination)}",
        length(call.seconds),
        _mos(call.mos),
        call.id,
    )


def _mos(mos: float | None) -> str:
    if mos is None:
        return ""
    style = "red" if mos < POOR_MOS else "yellow" if mos < FAIR_MOS else "green"
    return f"[{style}]{mos:.1f}[/{style}]"

"""`voice-gateway explain`: what would happen to a call, and why, before it happens."""

from __future__ import annotations

import asyncio
import time
from ipaddress import ip_address
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from gateway.admission.carriers import CarriersError, CarrierTable
from gateway.admission.carriers_file import load_carriers
from gateway.admission.limits import AdmissionLimits
from gateway.calls.explain import Step, explain
from gateway.cli.errors import UsageError
from gateway.cli.routes import find_routes
from gateway.config import Settings
from routing.health import EndpointHealth
from routing.view import RouteView


def run(settings: Settings, number: str, source: str, caller: str | None) -> int:
    """Print the decisions; 0 if the call would be answered by an agent or voicemail, 1 if not.

    Raises:
        UsageError: `source` is no IP address, or there are no routes to be found.

    """
    try:
        ip_address(source)
    except ValueError:
        raise UsageError(f"--from {source}: not an IP address") from None
    try:
        carriers = load_carriers([Path(name) for name in settings.admission.carriers_files])
    except CarriersError as error:
        raise UsageError(str(error)) from None
    return asyncio.run(_run(settings, carriers, number, source, caller))


async def _run(
    settings: Settings, carriers: CarrierTable, number: str, source: str, caller: str | None
) -> int:
    console = Console(highlight=False, soft_wrap=True)
    view, origin = await find_routes(settings)
    steps = explain(
        number,
        source,
        carriers=carriers,
        limits=AdmissionLimits(settings.admission.max_active_calls, routes_loaded=True),
        active_calls=0,
        numbers=_Numbers(view),
        agents=view,
        health=EndpointHealth(time.monotonic),
        default_voicemail=settings.voicemail.default_message,
        endpoint_template=settings.agents.endpoint_template,
        default_recording=settings.recording.policy,
        caller=caller,
    )
    console.print(f"[dim]routes from {escape(origin)}; endpoints are taken to be up[/dim]")
    for step in steps:
        console.print(_line(step))
    return 0 if steps[-1].passed else 1


class _Numbers:
    """A view as `explain` asks it."""

    def __init__(self, view: RouteView) -> None:
        self.get = view.number


def _line(step: Step) -> str:
    mark = "[green]✓[/green]" if step.passed else "[red]✗[/red]"
    return f"{mark} {step.name:<10} {escape(step.text)}"

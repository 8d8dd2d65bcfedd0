"""`voice-gateway carriers`: let a carrier send its calls here, and find out why it does not."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from gateway.cli.api_client import ApiClient, ApiTarget, with_api
from gateway.cli.errors import UsageError
from gateway.cli.options import ConfigOption, JsonOption, KeyOption, UrlOption
from gateway.cli.output import complain, print_json, say

app = typer.Typer(help="Carriers: set up, and find what is wrong.", no_args_is_help=True)

MARKS = {"planned": "·", "done": "✓", "failed": "✗", "not tried": "-"}


class CarrierName(StrEnum):
    """A carrier with accounts."""

    TWILIO = "twilio"
    TELNYX = "telnyx"


IntegrationOption = Annotated[
    str | None,
    typer.Option("--integration", help="Its id; may be left out if the carrier has only one integration."),
]
CountryOption = Annotated[
    list[str] | None,
    typer.Option("--country", help="That shall be callable, e.g. IN; may be given several times."),
]


@app.command("setup")
def set_up(
    carrier: Annotated[CarrierName, typer.Argument(help="twilio or telnyx.")],
    integration: IntegrationOption = None,
    number: Annotated[
        list[str] | None,
        typer.Option("--number", help="To attach, E.164; the integration's own unless given. Several times."),
    ] = None,
    country: CountryOption = None,
    trunk_domain: Annotated[
        str | None, typer.Option(help="Twilio: the termination domain, e.g. yourtrunk.pstn.twilio.com.")
    ] = None,
    auth_username: Annotated[
        str | None,
        typer.Option(help="Twilio: user for calls towards it; its password is read from standard input."),
    ] = None,
    remove_others: Annotated[
        bool, typer.Option("--remove-others", help="Remove destinations of the trunk that lead elsewhere.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before changing anything.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Wire a carrier's account to this deployment: shows what differs, and changes only that."""
    body: dict[str, Any] = {"countries": country or [], "remove_others": remove_others}
    optional = {"phone_numbers": number, "trunk_domain": trunk_domain, "auth_username": auth_username}
    body |= {name: value for name, value in optional.items() if value is not None}
    if auth_username is not None:
        body["auth_password"] = _password()
    if as_json and not (yes or dry_run):
        raise UsageError("--json asks nothing: give --dry-run for the plan, or --yes to carry it out")
    target = ApiTarget(config, url, key)

    async def plan(api: ApiClient) -> tuple[str, Any]:
        path = f"/integrations/{await _integration_id(api, carrier, integration)}/setup"
        return path, await api.request("POST", path, {**body, "dry_run": True})

    path, planned = with_api(target, plan)
    if not as_json:
        _show(planned)
    if dry_run or not planned["steps"]:
        if as_json:
            print_json(planned)
        return
    if not yes:
        _ask()

    async def work(api: ApiClient) -> Any:
        return await api.request("POST", path, body)

    result = with_api(target, work)
    if as_json:
        print_json(result)
    else:
        _show(result)
    raise typer.Exit(0 if result["complete"] else 1)


@app.command("doctor")
def examine(
    carrier: Annotated[
        CarrierName | None, typer.Argument(help="twilio or telnyx; both unless given.")
    ] = None,
    integration: IntegrationOption = None,
    country: CountryOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find what keeps carriers' calls from arriving here; status 1 if calls fail because of it."""
    from gateway.cli.carrier_checks import admission_checks
    from gateway.config import load

    settings = load(config)

    async def work(api: ApiClient) -> list[tuple[Any, Any]]:
        wanted = [
            each
            for each in await api.all("/integrations")
            if each["provider"] in ([carrier] if carrier else list(CarrierName))
            and integration in (None, each["id"])
        ]
        countries = ",".join(country) if country else None
        return [
            (each, await api.request("GET", f"/integrations/{each['id']}/doctor", countries=countries))
            for each in wanted
        ]

    reports = with_api(ApiTarget(config, url, key), work)
    if not reports:
        raise UsageError("there is no such integration: store one with POST /v1/integrations")
    names = sorted({each["provider"] for each, _ in reports})
    admission = asyncio.run(admission_checks(settings, names, datetime.now(UTC).date()))
    grave = any(
        each["grave"] for each in [*admission, *(f for _, report in reports for f in report["findings"])]
    )
    if as_json:
        accounts = [{"integration": each["id"], **report} for each, report in reports]
        print_json({"healthy": not grave, "integrations": accounts, "admission": admission})
    else:
        for each, report in reports:
            numbers = ", ".join(report["phone_numbers"]) or "no numbers"
            say(f"{each['provider']} {each['id']} ({each['name']}): {numbers}")
            _tell(report["findings"])
        say(f"admission: {', '.join(settings.admission.carriers_files)}")
        _tell(admission)
    raise typer.Exit(1 if grave else 0)


async def _integration_id(api: ApiClient, carrier: str, named: str | None) -> str:
    """The integration that is meant. Raises UsageError."""
    found = [each for each in await api.all("/integrations") if each["provider"] == carrier]
    if named is not None:
        if any(each["id"] == named for each in found):
            return named
        raise UsageError(f"{named} is no integration of {carrier}")
    if len(found) == 1:
        return str(found[0]["id"])
    if not found:
        raise UsageError(f"there is no integration of {carrier}: store one with POST /v1/integrations")
    told = ", ".join(f"{each['id']} ({each['name']})" for each in found)
    raise UsageError(f"{carrier} has several integrations, name one with --integration: {told}")


def _password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("password", hide_input=True))
    password = sys.stdin.readline().rstrip("\n")
    if not password:
        raise UsageError("--auth-username reads a password from standard input, which is empty")
    return password


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to ask: give --yes to carry the plan out, or --dry-run to see it")
    if not typer.confirm("Carry it out?"):
        raise typer.Exit(1)


def _show(result: Mapping[str, Any]) -> None:
    """A plan, or what became of it."""
    steps = result["steps"]
    if not steps:
        say(f"{result['carrier']}: nothing to change; calls come to {', '.join(result['destinations'])}")
    else:
        say(f"{result['carrier']}: {'plan' if result['dry_run'] else 'done'}")
    for step in steps:
        say(f"  {MARKS[step['status']]} {step['change']}: {step['detail']}")
        if step["error"]:
            complain(f"    {result['carrier']} says: {step['error']}")
    for note in result["notes"]:
        say(f"  note: {note}")
    if not result["dry_run"] and not result["complete"]:
        complain("  not complete: run it again, and it goes on from there")
    elif not result["dry_run"]:
        say(f"  trunk {result['trunk_id']}, for calls towards it: {result['trunk_domain']}")


def _tell(findings: Sequence[Mapping[str, Any]]) -> None:
    if not findings:
        say("  ✓ nothing wrong")
    for each in findings:
        say(f"  {'✗' if each['grave'] else '!'} {each['check']}: {each['detail']}")
        say(f"    fix: {each['fix']}")

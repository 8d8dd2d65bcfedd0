"""`voice-gateway numbers`: what is dialled, and where it leads."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.api_client import ApiClient, ApiTarget, ask, with_api
from gateway.cli.errors import UsageError
from gateway.cli.number_files import NumberWriter, open_source
from gateway.cli.number_import import NumberImport
from gateway.cli.options import (
    ConfigOption,
    GreetingOption,
    JsonOption,
    KeyOption,
    Provider,
    Recording,
    Status,
    UrlOption,
)
from gateway.cli.output import complain, print_json, print_one, print_table, say

app = typer.Typer(help="Phone numbers: list, get, add, route, remove, import, export.", no_args_is_help=True)

STEP_MARKS = {"waiting": "-", "running": "·", "pending": "·", "done": "✓", "failed": "✗"}

NumberArgument = Annotated[str, typer.Argument(help="The number, with or without plus, or its id.")]
RecordingOption = Annotated[
    Recording | None, typer.Option(help="What of its calls is recorded, unless the gateway decides.")
]
FallbackOption = Annotated[str | None, typer.Option("--fallback", help="Agent that takes over from it.")]
MessageOption = Annotated[
    str | None, typer.Option("--voicemail-message", help="Spoken when nobody takes the call.")
]


EmailOption = Annotated[str | None, typer.Option(help="Address that its messages are sent to.")]


class Conflict(StrEnum):
    """What to do about a number that is registered already and differs."""

    ERROR = "error"
    SKIP = "skip"
    UPDATE = "update"


class Form(StrEnum):
    """Of an exported file."""

    CSV = "csv"
    TOML = "toml"
    JSON = "json"


@app.command("list")
def list_numbers(
    number: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    provider: Annotated[Provider | None, typer.Option(help="Only of this provider.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only those that refer to this agent.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only of this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 50,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List numbers."""
    filters = {"phone_number": number, "provider": provider, "agent_id": agent, "status": status}

    async def work(api: ApiClient) -> tuple[list[Any], int]:
        items: list[Any] = []
        async for item in api.each("/phone-numbers", **filters):
            items.append(item)
            if not every and len(items) >= limit:
                break
        total = (await api.request("GET", "/phone-numbers", limit=1, **filters))["total"]
        return items, total

    items, total = with_api(ApiTarget(config, url, key), work)
    if as_json:
        print_json({"items": items, "total": total})
        return
    rows = (
        (
            each["phone_number"],
            each["friendly_name"],
            each["provider"],
            _route(each),
            _state(each),
            each["id"],
        )
        for each in items
    )
    more = "" if len(items) == total else f" of {total}; --all shows every one"
    print_table(
        ("number", "name", "provider", "calls go to", "status", "id"),
        rows,
        caption=f"{len(items)} numbers{more}",
    )


@app.command("get")
def get_number(
    number: NumberArgument,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one number."""

    async def work(api: ApiClient) -> tuple[Any, Any]:
        path = f"/phone-numbers/{await api.number_id(number)}"
        shown = await api.request("GET", path)
        return shown, await api.request("GET", f"{path}/provisioning") if shown["purchased"] else None

    shown, provisioning = with_api(ApiTarget(config, url, key), work)
    print_one(shown, _fields, as_json=as_json)
    if provisioning is not None and not as_json:
        _show_provisioning(provisioning)


@app.command("add")
def add_number(
    number: Annotated[str, typer.Argument(help="In E.164, e.g. +14155550100.")],
    provider: Annotated[Provider, typer.Option(help="Whose number it is.")],
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    agent: Annotated[str | None, typer.Option(help="Its agent, for calls out, and in unless routed.")] = None,
    routing_agent: Annotated[str | None, typer.Option(help="Agent that takes calls to it.")] = None,
    fallback: FallbackOption = None,
    voicemail_message: MessageOption = None,
    voicemail_greeting: GreetingOption = None,
    voicemail_email: EmailOption = None,
    no_voicemail: Annotated[
        bool, typer.Option("--no-voicemail", help="Let the carrier fail over instead of taking a message.")
    ] = False,
    answer_first: Annotated[
        bool, typer.Option("--answer-first", help="Answer before the agents are called: for slow ones.")
    ] = False,
    recording: RecordingOption = None,
    trunk: Annotated[str | None, typer.Option(help="The trunk's domain, for calls out.")] = None,
    auth_username: Annotated[str | None, typer.Option(help="At the trunk.")] = None,
    auth_password_stdin: Annotated[
        bool, typer.Option("--auth-password-stdin", help="Read the trunk's password from stdin.")
    ] = False,
    credential: Annotated[str | None, typer.Option(help="Id of the integration that it belongs to.")] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a number that you bring along."""
    password = sys.stdin.readline().rstrip("\r\n") if auth_password_stdin else None
    trunk_config = {"trunk_address": trunk, "auth_username": auth_username, "auth_password": password}
    routing = {
        "agent_id": routing_agent,
        "fallback": {"agent_id": fallback} if fallback else None,
        "voicemail_message": voicemail_message,
        "voicemail_greeting": voicemail_greeting,
        "voicemail_email": voicemail_email,
        "voicemail": False if no_voicemail else None,
        "answer_first": True if answer_first else None,
        "recording": recording.value if recording else None,
    }
    body = {
        "phone_number": number,
        "provider": provider.value,
        "friendly_name": name,
        "agent_id": agent,
        "inbound_routing": _given(routing) or None,
        "provider_config": _given(trunk_config) or None,
        "credential_id": credential,
    }

    registered = ask(ApiTarget(config, url, key), "POST", "/phone-numbers", _given(body))
    print_one(registered, _fields, as_json=as_json)


@app.command("route")
def route_number(
    number: NumberArgument,
    agent: Annotated[str | None, typer.Option(help="Agent that takes calls to it.")] = None,
    fallback: FallbackOption = None,
    no_fallback: Annotated[bool, typer.Option("--no-fallback", help="Nobody takes over.")] = False,
    voicemail_message: MessageOption = None,
    voicemail_greeting: GreetingOption = None,
    no_greeting: Annotated[
        bool, typer.Option("--no-greeting", help="Speak the message, or play the agent's greeting.")
    ] = False,
    voicemail_email: EmailOption = None,
    default_email: Annotated[
        bool, typer.Option("--default-email", help="Send its messages to email.to.")
    ] = False,
    default_voicemail: Annotated[
        bool, typer.Option("--default-voicemail", help="Speak the agent's message instead of its own.")
    ] = False,
    voicemail: Annotated[
        bool | None, typer.Option("--voicemail/--no-voicemail", help="Whether a message is taken at all.")
    ] = None,
    answer_first: Annotated[
        bool | None,
        typer.Option(
            "--answer-first/--agents-first", help="Whether callers are answered before agents are called."
        ),
    ] = None,
    recording: RecordingOption = None,
    off: Annotated[bool, typer.Option("--off", help="Take no calls: outbound only.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say where calls to a number go; what is not mentioned stays."""
    patch: dict[str, Any] = {}
    if agent is not None:
        patch["agent_id"] = agent
    if fallback is not None or no_fallback:
        patch["fallback"] = None if no_fallback else {"agent_id": fallback}
    if voicemail_message is not None or default_voicemail:
        patch["voicemail_message"] = None if default_voicemail else voicemail_message
    if voicemail_greeting is not None or no_greeting:
        patch["voicemail_greeting"] = None if no_greeting else voicemail_greeting
    if voicemail_email is not None or default_email:
        patch["voicemail_email"] = None if default_email else voicemail_email
    if voicemail is not None:
        patch["voicemail"] = voicemail
    if answer_first is not None:
        patch["answer_first"] = answer_first
    if recording is not None:
        patch["recording"] = recording.value
    if off and patch:
        raise UsageError("--off stands alone: it removes all routing")
    if not off and not patch:
        raise UsageError("nothing to change: give --agent, --fallback, --voicemail-message or --off")

    async def work(api: ApiClient) -> Any:
        path = f"/phone-numbers/{await api.number_id(number)}"
        return await api.request("PATCH", path, {"inbound_routing": None if off else patch})

    print_one(with_api(ApiTarget(config, url, key), work), _fields, as_json=as_json)


@app.command("remove")
def remove_numbers(
    numbers: Annotated[list[str], typer.Argument(help="Numbers, or their ids.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Forget numbers; those that were bought here are released at the carrier."""
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("there is nobody to ask: give --yes")
        typer.confirm(f"Remove {', '.join(numbers)}?", abort=True)

    async def work(api: ApiClient) -> None:
        for number in numbers:
            shown = await api.request("DELETE", f"/phone-numbers/{await api.number_id(number)}")
            say(
                f"{number} is gone."
                if shown is None
                else f"{number} takes no calls; its carrier could not be asked yet, and will be."
            )

    with_api(ApiTarget(config, url, key), work)


@app.command("import")
def import_numbers(
    file: Annotated[Path, typer.Argument(help="CSV or TOML; - for CSV on stdin.")],
    on_conflict: Annotated[
        Conflict, typer.Option(help="What to do about numbers that are registered already and differ.")
    ] = Conflict.ERROR,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would happen, change nothing.")
    ] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register many numbers; each fault is told by its line, and the others are imported."""
    source = open_source(file)
    importing = NumberImport(source, on_conflict=on_conflict.value, dry_run=dry_run)
    try:
        with_api(ApiTarget(config, url, key), importing.run)
    except KeyboardInterrupt:
        complain(f"stopped after {importing.done} numbers: {importing.summary()}; import again to go on")
        raise typer.Exit(130) from None
    except UsageError as error:
        raise UsageError(f"after {importing.done} numbers: {error}") from None
    if as_json:
        print_json(importing.result())
    else:
        for fault in importing.faults:
            field = f"{fault['field']}: " if fault["field"] else ""
            complain(f"{source.name}:{fault['line']}: {field}{fault['detail']} – {fault['fix']}")
        if importing.counts["failed"] > len(importing.faults):
            complain(f"… and {importing.counts['failed'] - len(importing.faults)} more")
        say(importing.summary())
    if importing.counts["failed"]:
        raise typer.Exit(1)


@app.command("export")
def export_numbers(
    file: Annotated[Path | None, typer.Argument(help="Where to; stdout unless given.")] = None,
    form: Annotated[
        Form | None, typer.Option("--format", help="By the file's suffix unless given, else csv.")
    ] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Write all numbers to a file that import takes again; passwords of trunks are not in it."""
    chosen = form or _form_of(file)

    async def work(api: ApiClient) -> int:
        count = 0
        agents = await api.all("/agents") if chosen is Form.TOML else []
        with ExitStack() as stack:
            out = sys.stdout if file is None else stack.enter_context(file.open("w", encoding="utf-8"))
            writer = NumberWriter(out, chosen.value, agents)
            async for number in api.each("/phone-numbers"):
                writer.write(number)
                count += 1
            writer.close()
        return count

    try:
        count = with_api(ApiTarget(config, url, key), work)
        sys.stdout.flush()
    except BrokenPipeError:  # as of `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from None
    if file is not None:
        say(f"{count} numbers in {file}")


def _form_of(file: Path | None) -> Form:
    suffix = file.suffix.removeprefix(".") if file is not None else ""
    if file is not None and suffix not in set(Form):
        raise UsageError(f"{file}: its suffix tells no format: give --format csv, toml or json")
    return Form(suffix) if suffix else Form.CSV


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _route(number: dict[str, Any]) -> str:
    """Where calls go, as people say it."""
    routing = number["inbound_routing"]
    if routing is None:
        return "– (outbound only)"
    steps = ["answered"] if routing.get("answer_first") else []
    steps.append(routing.get("agent_id") or number["agent_id"] or "nobody")
    if routing.get("fallback"):
        steps.append(routing["fallback"]["agent_id"])
    if routing.get("voicemail", True):
        steps.append("voicemail")
    return " → ".join(steps)


def _state(number: dict[str, Any]) -> str:
    """Its status; and while its carrier is asked, at which step that is, and since when it stands still."""
    provisioning = number["provisioning"]
    if provisioning is None:
        return str(number["status"])
    step = next((each for each in provisioning["steps"] if each.get("status", "waiting") != "done"), None)
    where = f"{provisioning['state']}: {step['step']}" if step else str(provisioning["state"])
    return f"{where}, {step['status']}" if step and step.get("error") else where


def _show_provisioning(provisioning: dict[str, Any]) -> None:
    """What was done at the carrier, a line for each step."""
    for each in provisioning["steps"]:
        status = each.get("status", "waiting")
        when = each.get("finished_at") or each.get("started_at") or ""
        say(f"  {STEP_MARKS[status]} {each['step']:<12} {status:<8} {when}".rstrip())
        if each.get("note"):
            say(f"      {each['note']}")
        if each.get("error"):
            complain(f"      the carrier: {each['error']}")
    if provisioning["next_attempt_at"]:
        say(f"  {provisioning['attempts']} attempts; the next at {provisioning['next_attempt_at']}")


def _fields(number: dict[str, Any]) -> tuple[tuple[str, object], ...]:
    config = number["provider_config"] or {}
    routing = number["inbound_routing"] or {}
    return (
        ("id", number["id"]),
        ("number", number["phone_number"]),
        ("name", number["friendly_name"]),
        ("provider", number["provider"] + (", bought here" if number["purchased"] else "")),
        ("status", _state(number)),
        ("agent", number["agent_id"]),
        ("calls go to", _route(number)),
        ("voicemail", routing.get("voicemail_message")),
        ("greeting", routing.get("voicemail_greeting")),
        ("messages to", routing.get("voicemail_email")),
        ("recording", routing.get("recording")),
        ("trunk", config.get("trunk_address")),
        ("integration", number["credential_id"]),
        ("updated", number["updated_at"]),
    )

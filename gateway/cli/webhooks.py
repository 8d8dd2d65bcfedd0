"""`voice-gateway webhooks`: who hears of calls and messages, and what did not arrive there."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.api_client import ApiClient, ApiTarget, ask, ask_all, with_api
from gateway.cli.errors import UsageError
from gateway.cli.options import ConfigOption, Delivery, JsonOption, KeyOption, Status, UrlOption
from gateway.cli.output import print_list, print_one, say

app = typer.Typer(
    help="Webhooks: list, get, add, update, remove, test; their deliveries.", no_args_is_help=True
)

HookArgument = Annotated[str, typer.Argument(help="The webhook's id, as `webhooks list` shows it.")]
EventOption = Annotated[
    list[str] | None, typer.Option("--event", help="What it hears of, e.g. call.ended; several times.")
]


@app.command("list")
def list_webhooks(
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """List webhooks."""
    hooks = ask_all(ApiTarget(config, url, key), "/webhooks")
    columns = ("id", "name", "address", "events", "status")
    print_list(hooks, columns, _row, caption=f"{len(hooks)} webhooks", as_json=as_json)


@app.command("get")
def get_webhook(
    webhook_id: HookArgument,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one webhook."""
    print_one(ask(ApiTarget(config, url, key), "GET", _path(webhook_id)), _fields, as_json=as_json)


@app.command("add")
def add_webhook(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    address: Annotated[str, typer.Argument(help="Where events go, e.g. https://hooks.example.com/voice.")],
    event: EventOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a webhook; the secret that signs what it gets is shown this once."""
    if not event:
        raise UsageError("name what it hears of, as in --event call.ended --event voicemail.created")
    body = {"name": name, "url": address, "events": event}

    made = ask(ApiTarget(config, url, key), "POST", "/webhooks", body)
    print_one(made, _fields, as_json=as_json)


@app.command("update")
def update_webhook(
    webhook_id: HookArgument,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    address: Annotated[str | None, typer.Option(help="Where events go.")] = None,
    event: EventOption = None,
    status: Annotated[Status | None, typer.Option(help="An inactive one is sent nothing.")] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a webhook; its events are replaced as a whole."""
    given = {"name": name, "url": address, "events": event, "status": status.value if status else None}
    patch = {field: value for field, value in given.items() if value is not None}
    if not patch:
        raise UsageError("nothing to change: give --name, --address, --event or --status")

    changed = ask(ApiTarget(config, url, key), "PATCH", _path(webhook_id), patch)
    print_one(changed, _fields, as_json=as_json)


@app.command("remove")
def remove_webhook(
    webhook_id: HookArgument, config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None
) -> None:
    """Delete a webhook, and what is on its way there."""
    ask(ApiTarget(config, url, key), "DELETE", _path(webhook_id))
    say(f"{webhook_id} is gone.")


@app.command("test")
def test_webhook(
    webhook_id: HookArgument, config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None
) -> None:
    """Send an event now, and tell what came of it."""
    told = ask(ApiTarget(config, url, key), "POST", f"{_path(webhook_id)}/test")
    if not told["delivered"]:
        raise UsageError(f"it did not arrive: {told['error']}")
    say(f"It arrived: {told['response_status']}.")


@app.command("deliveries")
def list_deliveries(
    webhook_id: HookArgument,
    status: Annotated[
        Delivery | None, typer.Option(help="Only of this status; `failed` are those that were given up.")
    ] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was, or is to be, sent to a webhook, newest first."""
    deliveries = ask_all(
        ApiTarget(config, url, key),
        f"{_path(webhook_id)}/deliveries",
        status=status.value if status else None,
    )
    columns = ("when", "event", "status", "attempts", "last error", "id")
    caption = f"{len(deliveries)} deliveries"
    print_list(deliveries, columns, _delivery_row, caption=caption, as_json=as_json)


@app.command("redeliver")
def redeliver(
    webhook_id: HookArgument,
    delivery_ids: Annotated[
        list[str] | None, typer.Argument(help="Ids of deliveries, as `webhooks deliveries` shows them.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that were given up.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Deliver events again, with all their attempts."""
    if bool(delivery_ids) == failed:
        raise UsageError("name deliveries, or give --failed")

    async def work(api: ApiClient) -> int:
        path = f"{_path(webhook_id)}/deliveries"
        ids = list(delivery_ids or ())
        if failed:
            ids = [each["id"] for each in await api.all(path, status="failed")]
        for each in ids:
            await api.request("POST", f"{path}/{quote(each, safe='')}/redeliver")
        return len(ids)

    say(f"{with_api(ApiTarget(config, url, key), work)} deliveries are on their way again.")


def _path(webhook_id: str) -> str:
    return f"/webhooks/{quote(webhook_id, safe='')}"


def _row(hook: dict[str, Any]) -> tuple[object, ...]:
    return (hook["id"], hook["name"], hook["url"], ", ".join(hook["events"]), hook["status"])


def _delivery_row(delivery: dict[str, Any]) -> tuple[object, ...]:
    return tuple(delivery[field] for field in ("created_at", "event", "status", "attempts", "error", "id"))


def _fields(hook: dict[str, Any]) -> tuple[tuple[str, object], ...]:
    return (
        ("id", hook["id"]),
        ("name", hook["name"]),
        ("address", hook["url"]),
        ("events", ", ".join(hook["events"])),
        ("status", hook["status"]),
        ("secret", hook.get("secret")),
        ("updated", hook["updated_at"]),
    )

"""`voice-gateway webhooks`: who hears of calls and messages, and what did not arrive there."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.api_client import ApiClient, ApiTarget, ask, ask_all, with_api
from gateway.cli.errors import UsageError
from gateway.cli.options import ConfigOption, Delivery, JsonOption, KeyOption, Status, UrlOption
from gateway.cli.output import print_fields, print_json, print_table, say

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
    if as_json:
        print_json({"items": hooks})
        return
    rows = (
        (each["id"], each["name"], each["url"], ", ".join(each["events"]), each["status"]) for each in hooks
    )
    print_table(("id", "name", "address", "events", "status"), rows, caption=f"{len(hooks)} webhooks")


@app.command("get")
def get_webhook(
    webhook_id: HookArgument,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one webhook."""
    _show(ask(ApiTarget(config, url, key), "GET", _path(webhook_id)), as_json=as_json)


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

    _show(ask(ApiTarget(config, url, key), "POST", "/webhooks", body), as_json=as_json)


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

    _show(ask(ApiTarget(config, url, key), "PATCH", _path(webhook_id), patch), as_json=as_json)


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
    if as_json:
        print_json({"items": deliveries})
        return
    rows = (
        (each["created_at"], each["event"], each["status"], each["attempts"], each["error"], each["id"])
        for each in deliveries
    )
    columns = ("when", "event", "status", "attempts", "last error", "id")
    print_table(columns, rows, caption=f"{len(deliveries)} deliveries")


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


def _show(hook: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(hook)
        return
    print_fields(
        (
            ("id", hook["id"]),
            ("name", hook["name"]),
            ("address", hook["url"]),
            ("events", ", ".join(hook["events"])),
            ("status", hook["status"]),
            ("secret", hook.get("secret")),
            ("updated", hook["updated_at"]),
        )
    )

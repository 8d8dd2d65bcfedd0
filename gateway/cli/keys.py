"""`voice-gateway keys`: API keys."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from gateway.cli.api_client import ApiTarget, ask, ask_all
from gateway.cli.options import ConfigOption, JsonOption, KeyOption, UrlOption
from gateway.cli.output import print_json, print_list, say

app = typer.Typer(help="API keys: list, create, revoke.", no_args_is_help=True)


@app.command("list")
def list_keys(
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """List keys that are in force, without their secrets."""
    keys = ask_all(ApiTarget(config, url, key), "/api-keys")
    columns = ("id", "name", "begins with", "scopes", "created", "expires", "last used")
    print_list(keys, columns, _row, as_json=as_json)


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="read or write; may be given twice. Both unless given.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="When it ends, e.g. 2027-01-01T00:00:00Z.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the key and nothing else.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key; it is shown once."""
    body: dict[str, Any] = {"name": name}
    if scope:
        body["scopes"] = scope
    if expires is not None:
        body["expires_at"] = expires

    made = ask(ApiTarget(config, url, key), "POST", "/api-keys", body)
    if as_json:
        print_json(made)
    elif quiet:
        sys.stdout.write(made["key"] + "\n")
    else:
        say(f"{made['id']} may {' and '.join(made['scopes'])}. The key, shown this once:")
        sys.stdout.write(made["key"] + "\n")


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="Its id, as `keys list` shows it.")],
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """End a key, at once."""
    ask(ApiTarget(config, url, key), "DELETE", f"/api-keys/{key_id}")
    say(f"{key_id} is revoked.")


def _row(key: dict[str, Any]) -> tuple[object, ...]:
    return (
        key["id"],
        key["name"],
        key["prefix"],
        " ".join(key["scopes"]),
        key["created_at"],
        key["expires_at"] or "never",
        key["last_used_at"] or "never",
    )

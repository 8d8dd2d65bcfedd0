"""`voice-gateway calls`: calls that go on, and those that are over."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.api_client import ApiClient, ApiTarget
from gateway.cli.gateway_client import with_gateway
from gateway.cli.options import ConfigOption, JsonOption, KeyOption, UrlOption
from gateway.cli.output import print_list, print_one, say

app = typer.Typer(help="Calls: list and search them, show one, hang one up.", no_args_is_help=True)

CallArgument = Annotated[
    str,
    typer.Argument(help="The call's id, a Call-ID of one of its legs, or the carrier's own id of it."),
]

OUTCOMES = ("agent", "fallback", "voicemail", "abandoned", "refused", "failed")


@app.command("list")
def list_calls(
    search: Annotated[
        str | None,
        typer.Argument(help="A number of either side or how one begins; or a Call-ID, or a call's id."),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Those that go on now at this gateway.")] = False,
    refused: Annotated[bool, typer.Option("--refused", help="Those that nobody was tried for.")] = False,
    outcome: Annotated[
        str | None,
        typer.Option(help="Of this outcome.", autocompletion=lambda: list(OUTCOMES)),
    ] = None,
    carrier: Annotated[str | None, typer.Option(help="Of this carrier.")] = None,
    since: Annotated[str | None, typer.Option(help="Then or later, e.g. 2026-11-27T00:00:00Z.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List calls, newest first.

    Without --live these are calls that are over, of every gateway that shares the store. A search finds
    numbers by their beginning, with or without the plus, and ids as a whole.

    Examples:
      voice-gateway calls list +1415555

      voice-gateway calls list --refused --since 2026-11-27T00:00:00Z

      voice-gateway calls list --live --json | jq '.items[].id'

    """
    from gateway.cli.call_lines import COLUMNS, call_of, row

    wanted = {
        "search": search,
        "refused": "true" if refused else None,
        "outcome": outcome,
        "carrier": carrier,
        "started_since": since,
    }

    async def work(api: ApiClient) -> Any:
        if live:
            return await api.request("GET", "/calls/live")
        return await api.request("GET", "/calls", limit=limit, **wanted)

    page = with_gateway(ApiTarget(config, url, key), work)
    items = page["items"][:limit]
    more = "; there are older ones: --limit shows more" if page.get("has_more") else ""
    caption = f"{len(items)} calls{more}"
    print_list(items, COLUMNS, lambda each: row(call_of(each)), caption=caption, as_json=as_json)


@app.command("show")
def show_call(
    call: CallArgument,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one call: why it ended as it did, what to do about it, what was tried, how long it took.

    `voice-gateway trace` shows what went over the wire.
    """
    from gateway.cli.call_lines import call_of, fields

    async def work(api: ApiClient) -> Any:
        return await api.request("GET", f"/calls/{quote(await call_id(api, call), safe='')}")

    found = with_gateway(ApiTarget(config, url, key), work)
    print_one(found, lambda each: fields(call_of(each)), as_json=as_json)


@app.command("hangup")
def hang_up_call(
    call: CallArgument, config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None
) -> None:
    """End a call that goes on: both sides get their goodbye.

    A caller who was answered gets a BYE whose Reason says that an operator ended the call; one who was not is
    refused with 480, on which carriers may try their next address.
    """

    async def work(api: ApiClient) -> str:
        found = await call_id(api, call)
        await api.request("DELETE", f"/calls/{quote(found, safe='')}")
        return found

    say(f"{with_gateway(ApiTarget(config, url, key), work)} is over.")


async def call_id(api: ApiClient, named: str) -> str:
    """Our id of a call that is named by any of its ids. Raises Refused or UsageError."""
    for each in (await api.request("GET", "/calls/live"))["items"]:
        if named in (each["id"], each["carrier_call_id"], *each["sip_call_ids"]):
            return str(each["id"])
    found = (await api.request("GET", "/calls", search=named, limit=1))["items"]
    return str(found[0]["id"]) if found else named

"""`voice-gateway voicemails`: messages that callers left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.api_client import ApiClient, ApiTarget, ask, ask_all, with_api
from gateway.cli.downloads import save_audio
from gateway.cli.options import ConfigOption, Delivery, JsonOption, KeyOption, UrlOption
from gateway.cli.output import print_list, print_one, say

app = typer.Typer(
    help="Voicemails: list, get, download, mark as heard, delete; their emails.", no_args_is_help=True
)

MessageArgument = Annotated[str, typer.Argument(help="The message's id, as `voicemails list` shows it.")]


@app.command("list")
def list_voicemails(
    number: Annotated[str | None, typer.Option(help="Left for this number.")] = None,
    agent: Annotated[str | None, typer.Option(help="Missed by this agent.")] = None,
    heard: Annotated[
        bool | None, typer.Option("--heard/--new", help="Heard ones, or new ones alone.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Then or later, e.g. 2026-11-27T00:00:00Z.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List messages, newest first."""
    filters = {
        "phone_number": number,
        "agent_id": agent,
        "heard": None if heard is None else str(heard).lower(),
        "created_since": since,
    }

    page = ask(ApiTarget(config, url, key), "GET", "/voicemails/cursor", limit=limit, **filters)
    items = page["items"]
    more = "; there are older ones: --limit shows more" if page["has_more"] else ""
    columns = ("when", "for", "from", "length", "state", "id")
    print_list(items, columns, _row, caption=f"{len(items)} messages{more}", as_json=as_json)


@app.command("get")
def get_voicemail(
    voicemail_id: MessageArgument,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one message."""
    print_one(ask(ApiTarget(config, url, key), "GET", _path(voicemail_id)), _fields, as_json=as_json)


@app.command("download")
def download_voicemail(
    voicemail_id: MessageArgument,
    file: Annotated[
        Path | None, typer.Argument(help="Where to; the id and .wav unless given, - for stdout.")
    ] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Save a message's audio."""
    save_audio(ApiTarget(config, url, key), _path(voicemail_id), voicemail_id, file)


@app.command("heard")
def mark_voicemail(
    voicemail_id: MessageArgument,
    new: Annotated[bool, typer.Option("--new", help="Mark it as not heard instead.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Mark a message as heard."""
    message = ask(ApiTarget(config, url, key), "PATCH", _path(voicemail_id), {"heard": not new})
    say(f"{message['id']} is {_state(message)}.")


@app.command("delete")
def delete_voicemail(
    voicemail_id: MessageArgument, config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None
) -> None:
    """Delete a message and its audio."""
    ask(ApiTarget(config, url, key), "DELETE", _path(voicemail_id))
    say(f"{voicemail_id} is gone.")


@app.command("emails")
def list_emails(
    status: Annotated[
        Delivery | None, typer.Option(help="Only of this status; `failed` are those that were given up.")
    ] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List messages' emails, newest first."""
    emails = ask_all(
        ApiTarget(config, url, key), "/voicemail-emails", status=status.value if status else None
    )
    columns = ("when", "message", "to", "status", "attempts", "last error", "id")
    print_list(emails, columns, _email_row, caption=f"{len(emails)} emails", as_json=as_json)


@app.command("resend")
def resend_email(
    email_ids: Annotated[list[str], typer.Argument(help="Ids of emails, as `voicemails emails` shows them.")],
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Send emails again, those that were given up or any other."""

    async def work(api: ApiClient) -> None:
        for each in email_ids:
            sent = await api.request("POST", f"/voicemail-emails/{quote(each, safe='')}/resend")
            say(f"{each} goes to {sent['to'] or 'nobody: there is no address'}.")

    with_api(ApiTarget(config, url, key), work)


def _path(voicemail_id: str) -> str:
    return f"/voicemails/{quote(voicemail_id, safe='')}"


def _row(message: dict[str, Any]) -> tuple[object, ...]:
    return (
        message["created_at"],
        message["phone_number"],
        message["from_number"] or "withheld",
        f"{message['duration_seconds']:.0f} s",
        _state(message),
        message["id"],
    )


def _email_row(email: dict[str, Any]) -> tuple[object, ...]:
    fields = ("created_at", "voicemail_id", "to", "status", "attempts", "error", "id")
    return tuple(email[field] for field in fields)


def _fields(message: dict[str, Any]) -> tuple[tuple[str, object], ...]:
    return (
        ("id", message["id"]),
        ("when", message["created_at"]),
        ("for", message["phone_number"]),
        ("from", message["from_number"] or "withheld"),
        ("length", f"{message['duration_seconds']} s"),
        ("state", _state(message)),
        ("missed by", message["agent_id"]),
        ("said", message["transcript"] or message["transcription"]),
        ("carrier", message["carrier"]),
        ("call", message["call_id"]),
    )


def _state(message: dict[str, Any]) -> str:
    state = "heard" if message["heard"] else "new"
    return f"{state}, too short" if message["too_short"] else state

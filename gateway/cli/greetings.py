"""`voice-gateway greetings`: audio that voicemails begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from gateway.cli.api_client import ApiClient, ApiTarget, Refused, ask, ask_all, with_api
from gateway.cli.downloads import save_audio
from gateway.cli.errors import UsageError
from gateway.cli.options import ConfigOption, JsonOption, KeyOption, UrlOption
from gateway.cli.output import complain, print_list, print_one, say

app = typer.Typer(help="Voicemail greetings: upload, list, get, download, delete.", no_args_is_help=True)

GreetingArgument = Annotated[str, typer.Argument(help="The greeting's id, as `greetings list` shows it.")]

MAX_FILE: Final = 64 * 1024 * 1024
"""Bytes that are read at all; what the API takes of them it says itself."""

TYPES: Final = {".wav": "audio/wav", ".ogg": "audio/ogg", ".opus": "audio/ogg", ".mp3": "audio/mpeg"}


@app.command("upload")
def upload_greeting(
    file: Annotated[Path, typer.Argument(help="WAV, Ogg or MP3, two minutes at most.")],
    name: Annotated[
        str | None, typer.Option(help="What people call it; the file's name unless given.")
    ] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload a file; its id goes into numbers' and agents' voicemail_greeting."""
    data = _read(file)
    content_type = TYPES.get(file.suffix.lower(), "application/octet-stream")

    async def work(api: ApiClient) -> Any:
        return await api.upload("/greetings", data, content_type, name=name or file.stem)

    print_one(with_api(ApiTarget(config, url, key), work), _fields, as_json=as_json)


@app.command("list")
def list_greetings(
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """List greetings."""
    greetings = ask_all(ApiTarget(config, url, key), "/greetings")
    columns = ("id", "name", "length", "uploaded")
    print_list(greetings, columns, _row, caption=f"{len(greetings)} greetings", as_json=as_json)


@app.command("get")
def get_greeting(
    greeting_id: GreetingArgument,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one greeting."""
    print_one(ask(ApiTarget(config, url, key), "GET", _path(greeting_id)), _fields, as_json=as_json)


@app.command("download")
def download_greeting(
    greeting_id: GreetingArgument,
    file: Annotated[
        Path | None, typer.Argument(help="Where to; the id and .wav unless given, - for stdout.")
    ] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Save a greeting's audio as callers hear it."""
    save_audio(ApiTarget(config, url, key), _path(greeting_id), greeting_id, file)


@app.command("delete")
def delete_greeting(
    greeting_id: GreetingArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Also if numbers or agents refer to it; they speak text again.")
    ] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Delete a greeting and its audio."""

    async def work(api: ApiClient) -> Any:
        return await api.request("DELETE", _path(greeting_id), force="true" if force else None)

    try:
        with_api(ApiTarget(config, url, key), work)
    except Refused as refusal:
        for number in refusal.problem.get("numbers", ()):
            complain(f"  {number['phone_number']}  {number['id']}")
        for agent_id in refusal.problem.get("agents", ()):
            complain(f"  {agent_id}")
        raise
    say(f"{greeting_id} is gone.")


def _read(file: Path) -> bytes:
    try:
        if file.stat().st_size > MAX_FILE:
            raise UsageError(f"{file}: too large for a greeting")
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from None


def _path(greeting_id: str) -> str:
    return f"/greetings/{quote(greeting_id, safe='')}"


def _row(greeting: dict[str, Any]) -> tuple[object, ...]:
    length = f"{greeting['duration_seconds']:.1f} s"
    return (greeting["id"], greeting["name"], length, greeting["created_at"])


def _fields(greeting: dict[str, Any]) -> tuple[tuple[str, object], ...]:
    return (
        ("id", greeting["id"]),
        ("name", greeting["name"]),
        ("length", f"{greeting['duration_seconds']} s"),
        ("size", f"{greeting['size_bytes']} bytes"),
        ("uploaded", greeting["created_at"]),
    )

"""`voice-gateway agents`: who takes calls, and where."""

from __future__ import annotations

import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.api_client import ApiClient, ApiTarget, Refused, ask, ask_all, with_api
from gateway.cli.errors import UsageError
from gateway.cli.options import ConfigOption, GreetingOption, JsonOption, KeyOption, Recording, UrlOption
from gateway.cli.output import complain, print_list, print_one, say

app = typer.Typer(help="Agents: list, get, add, update, remove.", no_args_is_help=True)

AgentArgument = Annotated[str, typer.Argument(help="The agent's id.")]
EndpointOption = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint", help="Its URL, sip:… or wss:…; may be given several times, tried in this order."
    ),
]
ProtocolOption = Annotated[
    str | None,
    typer.Option(help="Spoken on WebSocket endpoints: twilio (the default), telnyx or openai-realtime."),
]
StreamOption = Annotated[
    list[str] | None,
    typer.Option("--option", help="Of that protocol, as NAME=VALUE; may be given several times."),
]
RecordingOption = Annotated[
    Recording | None, typer.Option(help="What of its calls is recorded, unless the number says.")
]
RegionOption = Annotated[
    str | None, typer.Option(help="Where its endpoints are, as in node.region: gateways there prefer them.")
]
TokenOption = Annotated[
    bool,
    typer.Option(
        "--auth-token-stdin", help="Read from stdin what signs handshakes and REST requests as at Twilio."
    ),
]


@app.command("list")
def list_agents(
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """List agents."""
    agents = ask_all(ApiTarget(config, url, key), "/agents")
    columns = ("id", "name", "endpoints", "numbers")
    print_list(agents, columns, _row, caption=f"{len(agents)} agents", as_json=as_json)


@app.command("get")
def get_agent(
    agent_id: AgentArgument,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one agent."""
    print_one(ask(ApiTarget(config, url, key), "GET", _path(agent_id)), _fields, as_json=as_json)


@app.command("add")
def add_agent(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    agent_id: Annotated[str | None, typer.Option("--id", help="Its id; made unless given.")] = None,
    endpoint: EndpointOption = None,
    protocol: ProtocolOption = None,
    option: StreamOption = None,
    auth_token_stdin: TokenOption = False,
    region: RegionOption = None,
    voicemail_message: Annotated[str | None, typer.Option(help="Spoken when nobody takes its calls.")] = None,
    voicemail_greeting: GreetingOption = None,
    recording: RecordingOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an agent."""
    fields = {
        "id": agent_id,
        "name": name,
        "voicemail_message": voicemail_message,
        "voicemail_greeting": voicemail_greeting,
        "recording": recording.value if recording else None,
    }
    body: dict[str, Any] = {field: value for field, value in fields.items() if value is not None}
    body["endpoints"] = _ranked(endpoint or [], _stream_fields(protocol, option, auth_token_stdin), region)

    print_one(ask(ApiTarget(config, url, key), "POST", "/agents", body), _fields, as_json=as_json)


@app.command("update")
def update_agent(
    agent_id: AgentArgument,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    endpoint: EndpointOption = None,
    protocol: ProtocolOption = None,
    option: StreamOption = None,
    auth_token_stdin: TokenOption = False,
    region: RegionOption = None,
    voicemail_message: Annotated[str | None, typer.Option(help="Spoken when nobody takes its calls.")] = None,
    default_voicemail: Annotated[
        bool, typer.Option("--default-voicemail", help="Speak voicemail.default_message instead.")
    ] = False,
    voicemail_greeting: GreetingOption = None,
    no_greeting: Annotated[bool, typer.Option("--no-greeting", help="Speak the message.")] = False,
    recording: RecordingOption = None,
    default_recording: Annotated[
        bool, typer.Option("--default-recording", help="Leave it to recording.policy.")
    ] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change an agent; endpoints are replaced as a whole."""
    patch: dict[str, Any] = {}
    if name is not None:
        patch["name"] = name
    stream = _stream_fields(protocol, option, auth_token_stdin)
    if endpoint is not None:
        patch["endpoints"] = _ranked(endpoint, stream, region)
    elif stream or region:
        raise UsageError("--protocol, --option, --auth-token-stdin and --region go with --endpoint")
    if voicemail_message is not None or default_voicemail:
        patch["voicemail_message"] = None if default_voicemail else voicemail_message
    if voicemail_greeting is not None or no_greeting:
        patch["voicemail_greeting"] = None if no_greeting else voicemail_greeting
    if recording is not None or default_recording:
        patch["recording"] = None if default_recording or recording is None else recording.value
    if not patch:
        raise UsageError("nothing to change: give --name, --endpoint, --voicemail-message or others")

    changed = ask(ApiTarget(config, url, key), "PATCH", _path(agent_id), patch)
    print_one(changed, _fields, as_json=as_json)


@app.command("remove")
def remove_agent(
    agent_id: AgentArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Also if numbers refer to it; they lose it.")
    ] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Delete an agent."""

    async def work(api: ApiClient) -> Any:
        return await api.request("DELETE", _path(agent_id), force="true" if force else None)

    try:
        with_api(ApiTarget(config, url, key), work)
    except Refused as refusal:
        for number in refusal.problem.get("numbers", ()):
            complain(f"  {number['phone_number']}  {number['id']}")
        raise
    say(f"{agent_id} is gone.")


def _ranked(urls: list[str], stream: dict[str, Any], region: str | None) -> list[dict[str, Any]]:
    """Endpoints in the order in which they were given; stream: what those on a WebSocket have besides."""
    place = {} if region is None else {"region": region}
    return [
        {
            "url": url,
            "priority": 10 * rank,
            **place,
            **(stream if url.lower().startswith(("ws:", "wss:")) else {}),
        }
        for rank, url in enumerate(urls, 1)
    ]


def _stream_fields(protocol: str | None, options: list[str] | None, token_stdin: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if protocol is not None:
        fields["protocol"] = protocol
    for option in options or ():
        name, equals, value = option.partition("=")
        if not equals:
            raise UsageError(f"--option {option}: write it as NAME=VALUE, as in encoding=L16")
        fields.setdefault("options", {})[name] = value
    if token_stdin:
        fields["auth_token"] = sys.stdin.readline().rstrip("\r\n")
    return fields


def _path(agent_id: str) -> str:
    return f"/agents/{quote(agent_id, safe='')}"


def _row(agent: dict[str, Any]) -> tuple[object, ...]:
    return (agent["id"], agent["name"], _endpoints(agent), agent["numbers"])


def _endpoints(agent: dict[str, Any]) -> str:
    return ", ".join(each["url"] for each in sorted(agent["endpoints"], key=lambda one: one["priority"]))


def _fields(agent: dict[str, Any]) -> tuple[tuple[str, object], ...]:
    return (
        ("id", agent["id"]),
        ("name", agent["name"]),
        *(("endpoint", _endpoint(each)) for each in agent["endpoints"]),
        ("voicemail", agent["voicemail_message"]),
        ("greeting", agent["voicemail_greeting"]),
        ("recording", agent["recording"]),
        ("numbers", agent["numbers"]),
        ("updated", agent["updated_at"]),
    )


def _endpoint(endpoint: dict[str, Any]) -> str:
    place = f", region {endpoint['region']}" if endpoint["region"] else ""
    return f"{endpoint['url']} (priority {endpoint['priority']}, weight {endpoint['weight']}{place})"

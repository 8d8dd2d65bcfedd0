"""`voice-gateway agents`: who takes calls, and where."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.api_client import ApiClient, ApiTarget, Refused, with_api
from gateway.cli.errors import UsageError
from gateway.cli.options import ConfigOption, JsonOption, KeyOption, UrlOption
from gateway.cli.output import complain, print_fields, print_json, print_table, say

app = typer.Typer(help="Agents: list, get, add, update, remove.", no_args_is_help=True)

AgentArgument = Annotated[str, typer.Argument(help="The agent's id.")]
EndpointOption = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint", help="Its URL, sip:… or wss:…; may be given several times, tried in this order."
    ),
]


@app.command("list")
def list_agents(
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """List agents."""

    async def work(api: ApiClient) -> list[Any]:
        return await api.all("/agents")

    agents = with_api(ApiTarget(config, url, key), work)
    if as_json:
        print_json({"items": agents})
        return
    rows = ((each["id"], each["name"], _endpoints(each), each["numbers"]) for each in agents)
    print_table(("id", "name", "endpoints", "numbers"), rows, caption=f"{len(agents)} agents")


@app.command("get")
def get_agent(
    agent_id: AgentArgument,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one agent."""

    async def work(api: ApiClient) -> Any:
        return await api.request("GET", f"/agents/{agent_id}")

    _show(with_api(ApiTarget(config, url, key), work), as_json=as_json)


@app.command("add")
def add_agent(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    agent_id: Annotated[str | None, typer.Option("--id", help="Its id; made unless given.")] = None,
    endpoint: EndpointOption = None,
    voicemail_message: Annotated[str | None, typer.Option(help="Spoken when nobody takes its calls.")] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an agent."""
    fields = {"id": agent_id, "name": name, "voicemail_message": voicemail_message}
    body: dict[str, Any] = {field: value for field, value in fields.items() if value is not None}
    body["endpoints"] = _ranked(endpoint or [])

    async def work(api: ApiClient) -> Any:
        return await api.request("POST", "/agents", body)

    _show(with_api(ApiTarget(config, url, key), work), as_json=as_json)


@app.command("update")
def update_agent(
    agent_id: AgentArgument,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    endpoint: EndpointOption = None,
    voicemail_message: Annotated[str | None, typer.Option(help="Spoken when nobody takes its calls.")] = None,
    default_voicemail: Annotated[
        bool, typer.Option("--default-voicemail", help="Speak voicemail.default_message instead.")
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
    if endpoint is not None:
        patch["endpoints"] = _ranked(endpoint)
    if voicemail_message is not None or default_voicemail:
        patch["voicemail_message"] = None if default_voicemail else voicemail_message
    if not patch:
        raise UsageError("nothing to change: give --name, --endpoint or --voicemail-message")

    async def work(api: ApiClient) -> Any:
        return await api.request("PATCH", f"/agents/{agent_id}", patch)

    _show(with_api(ApiTarget(config, url, key), work), as_json=as_json)


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
        return await api.request("DELETE", f"/agents/{agent_id}", force="true" if force else None)

    try:
        with_api(ApiTarget(config, url, key), work)
    except Refused as refusal:
        for number in refusal.problem.get("numbers", ()):
            complain(f"  {number['phone_number']}  {number['id']}")
        raise
    say(f"{agent_id} is gone.")


def _ranked(urls: list[str]) -> list[dict[str, Any]]:
    """Endpoints in the order in which they were given."""
    return [{"url": url, "priority": 10 * rank} for rank, url in enumerate(urls, 1)]


def _endpoints(agent: dict[str, Any]) -> str:
    return ", ".join(each["url"] for each in sorted(agent["endpoints"], key=lambda one: one["priority"]))


def _show(agent: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(agent)
        return
    print_fields(
        (
            ("id", agent["id"]),
            ("name", agent["name"]),
            *(
                ("endpoint", f"{each['url']} (priority {each['priority']}, weight {each['weight']})")
                for each in agent["endpoints"]
            ),
            ("voicemail", agent["voicemail_message"]),
            ("numbers", agent["numbers"]),
            ("updated", agent["updated_at"]),
        )
    )

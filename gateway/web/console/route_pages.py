"""Numbers, agents and the route tester: what this gateway would do with a call."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from gateway.calls.explain import Step
from gateway.web.console.desk import Desk
from gateway.web.console.html import Html, html, join, table
from gateway.web.console.layout import ROOT
from gateway.web.console.words import badge
from routing.endpoint_rules import shown_url
from routing.models import Agent, PhoneNumber

MAX_NUMBERS = 200
"""Shown on a page: whoever looks for one types how it begins."""

MAX_LOOKED_AT = 2_000_000
"""Numbers that a search looks at, a thousand at a time."""

MAX_AGENTS = 1_000
"""Shown on a page."""


async def numbers_body(desk: Desk, search: str) -> Html:
    """Numbers by how they begin."""
    wanted = search.strip().translate(str.maketrans("", "", " -().")).removeprefix("+")
    found: list[PhoneNumber] = []
    looked_at = 0
    async for number in desk.numbers():
        looked_at += 1
        if number.phone_number.startswith(f"+{wanted}"):
            found.append(number)
        if len(found) >= MAX_NUMBERS or looked_at >= MAX_LOOKED_AT:
            break
    found.sort(key=lambda number: number.phone_number)
    rows = [
        html(
            '<tr><th scope="row">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td>'
            '<td><a href="{}/test?number={}">what would happen</a></td></tr>',
            *(desk.shown(number.phone_number), number.friendly_name, badge(number.status), _routing(number)),
            *(number.id, ROOT, number.phone_number.removeprefix("+")),
        )
        for number in found
    ]
    heads = ("number", "name", "status", "calls go to", "id", "test")
    return html(
        '<form method="get" class="ask"><label for="begins">Numbers that begin with</label>'
        '<input id="begins" name="search" value="{}" inputmode="tel"><button>Show</button></form>'
        "<p>{} of {} numbers that this gateway routes.</p>"
        "{}",
        *(search, len(rows), desk.count_numbers(), table("Numbers", heads, rows)),
    )


def _routing(number: PhoneNumber) -> str:
    routing = number.inbound_routing
    if routing is None:
        return "nobody: outbound-only"
    names = [routing.agent_id or number.agent_id, routing.fallback.agent_id if routing.fallback else None]
    plan = [name for name in names if name]
    return " → ".join([*plan, "voicemail"] if routing.voicemail else plan) or "nobody"


def agents_body(desk: Desk) -> Html:
    """Agents with the health of their endpoints, those in trouble first."""
    agents = sorted(desk.agents(), key=lambda agent: (not _troubled(desk, agent), agent.id))
    rows = [_agent(desk, agent) for agent in agents[:MAX_AGENTS]]
    rest = len(agents) - len(rows)
    return html(
        "{}{}",
        table("Agents", ("agent", "name", "calls", "endpoints"), rows),
        html("<p>… and {} more.</p>", rest) if rest > 0 else None,
    )


def _troubled(desk: Desk, agent: Agent) -> bool:
    return any(desk.obstacle(agent, endpoint) is not None for endpoint in agent.endpoints)


def _agent(desk: Desk, agent: Agent) -> Html:
    endpoints = [
        html(
            "<li>{} {} {} {}</li>",
            *(badge("up" if (obstacle := desk.obstacle(agent, endpoint)) is None else "down"),),
            *(shown_url(endpoint.url), endpoint.region, obstacle),
        )
        for endpoint in agent.endpoints
    ]
    return html(
        '<tr><th scope="row">{}</th><td>{}</td><td class="number">{}</td><td><ul>{}</ul></td></tr>',
        *(agent.id, agent.name, desk.calls_at(agent.id), endpoints or html("<li>none is described</li>")),
    )


def tester_body(desk: Desk, number: str, source: str, caller: str) -> Html:
    """A form, and what would happen."""
    sources = desk.sources()
    options = [html('<option value="{}">{}</option>', address, name) for name, address in sources]
    source = source or (sources[0][1] if sources else "")
    answer = _answer(desk, number, source, caller) if number else None
    return html(
        '<form method="get" class="ask">'
        '<label for="number">Number that is dialled</label>'
        '<input id="number" name="number" value="{}" required>'
        '<label for="source">Address that the call comes from</label>'
        '<input id="source" name="source" list="sources" value="{}"><datalist id="sources">{}</datalist>'
        '<label for="caller">Calling number (may be empty)</label>'
        '<input id="caller" name="caller" value="{}">'
        "<button>What would happen?</button></form>{}",
        *(number, source, options, caller, answer),
    )


def _answer(desk: Desk, number: str, source: str, caller: str) -> Html:
    try:
        ip_address(source)
    except ValueError:
        return html('<p role="alert">{} is no IP address.</p>', source or "Nothing")
    dialled = f"+{number}" if number.isdigit() and len(number) > 10 else number
    steps = _steps(desk.explain(dialled, source, caller or None))
    return html('<section aria-label="Answer"><h2>What would happen</h2>{}</section>', steps)


def _steps(steps: Sequence[Step]) -> Html:
    drawn = [
        html(
            '<li class="{}"><strong>{}{}</strong> {}</li>',
            *("passed" if step.passed else "stopped", "" if step.passed else "✗ ", step.name, step.text),
        )
        for step in steps
    ]
    return html('<ol class="steps">{}</ol>', join(drawn))

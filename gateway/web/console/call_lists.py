"""Lists of calls: those that go on, those that are over, those that were refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlencode

from gateway.admission.doorkeeper import TurnedAway
from gateway.calls.reasons import reason_of
from gateway.web.console.desk import LiveRow
from gateway.web.console.html import Html, html, table
from gateway.web.console.layout import ROOT
from gateway.web.console.sessions import Session
from gateway.web.console.words import badge, clock, ended, length, mos
from routing.call_records import CallShown

TURN = 25
"""Live calls drawn without letting anybody else run: a millisecond. Whoever looks at calls must not be heard
in them."""


async def live_body(rows: Sequence[LiveRow], total: int, session: Session, *, draining: bool) -> Html:
    """The live calls, kept up to date by `live.js`."""
    drawn = []
    for count, row in enumerate(rows, 1):
        drawn.append(_live_row(row))
        if count % TURN == 0:
            await asyncio.sleep(0)
    return html(
        '<p>Calls that go on: <strong id="total">{}</strong>. <span id="feed" role="status"></span></p>{}'
        '<div class="wide"><table id="live" data-feed="{}/live/events">'
        '<caption class="hidden">Calls that go on</caption>'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
        '<p id="none"{}>No call goes on.</p>',
        total,
        _drain(session, draining=draining) if session.writes else None,
        ROOT,
        _heads("call", "state", "carrier", "from", "to", "plan", "length", "MOS"),
        drawn,
        Html(" hidden" if drawn else ""),
    )


def _live_row(row: LiveRow) -> Html:
    return html(
        '<tr data-id="{}" data-began="{}"><th scope="row"><a href="{}/calls/{}">{}</a></th><td>{}</td>'
        '<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class="number"></td><td class="number">{}</td></tr>',
        *(
            row.id,
            row.began,
            ROOT,
            row.id,
            row.id[:8],
            badge(row.state),
            row.carrier,
            row.caller or "withheld",
        ),
        *(row.number, f"{row.position}/{row.planned} {row.destination}", mos(row.mos)),
    )


def _drain(session: Session, *, draining: bool) -> Html:
    word, value, told = (
        ("Take new calls again", "0", "This gateway takes no new calls; carriers go elsewhere.")
        if draining
        else ("Take no new calls", "1", "Drain: carriers go elsewhere, calls under way go on to their end.")
    )
    return html(
        '<details><summary>Drain…</summary><form method="post" action="{}/drain"><p>{}</p>'
        '<input type="hidden" name="csrf" value="{}"><input type="hidden" name="draining" value="{}">'
        "<button>{}</button></form></details>",
        *(ROOT, told, session.csrf, value, word),
    )


def history_body(calls: Sequence[CallShown], search: str, cursor: str) -> Html:
    """Calls that are over, newest first."""
    told = html("<p>Found by <strong>{}</strong>.</p>", search) if search else None
    return html("{}{}{}", told, _table(calls), _more("calls", search, cursor))


def refused_body(calls: Sequence[CallShown], away: Sequence[TurnedAway], cursor: str) -> Html:
    """Calls that nobody was tried for, each with its rule and the fix; and whom the door kept out."""
    rows = [
        html(
            '<tr><th scope="row"><a href="{}/calls/{}">{}</a></th><td>{}</td><td>{}</td><td>{}</td>'
            "<td>{}</td><td>{}</td><td>{}</td></tr>",
            *(ROOT, call.id, clock(call.began), call.carrier, call.caller or "withheld"),
            *(call.number or call.dialled, call.status, (reason := reason_of(call)).text, reason.fix),
        )
        for call in calls
    ]
    heads = ("when", "carrier", "from", "to", "status", "rule", "what to do")
    refused = (
        html("{}{}", table("Refused calls", heads, rows), _more("refused", "", cursor))
        if rows
        else html("<p>No call was refused.</p>")
    )
    return html("{}<h2>Turned away at the door</h2>{}", refused, _door(away))


FIXES = {
    "unknown_source": "If it is a carrier of yours, add its address to a file of admission.carriers_files.",
    "unnamed_source": "An edge proxy must name the source in one X-Edge-Source header; see configs/kamailio.",
    "carrier_rate": "Raise admission.calls_per_second, or calls_per_second of the carrier.",
    "overload": "The node could not keep up: add one, or see why it is slow.",
    "max_active_calls": "Raise admission.max_active_calls if the machine has room, or add a gateway.",
    "digest_blocked": "It gave wrong passwords: correct those of the trunk, here or there.",
    "source_rate": "Raise admission.source_requests_per_second, if the address is a carrier's.",
}


def _door(away: Sequence[TurnedAway]) -> Html:
    if not away:
        return html("<p>Nobody was turned away since this gateway started.</p>")
    rows = [
        html(
            '<tr><th scope="row">{}</th><td>{}</td><td class="number">{}</td><td>{}</td><td>{}</td></tr>',
            *(each.who, each.rule.replace("_", " "), each.count, clock(each.at), FIXES.get(each.rule, "")),
        )
        for each in away
    ]
    return html(
        "<p>Of these nothing is remembered but how often they came, lately, to this gateway.</p>{}",
        table("Turned away", ("who", "rule", "times", "last", "what to do"), rows),
    )


def _table(calls: Sequence[CallShown]) -> Html:
    if not calls:
        return html("<p>There is no such call.</p>")
    rows = [
        html(
            '<tr><th scope="row"><a href="{}/calls/{}">{}</a></th><td>{}</td><td>{}</td><td>{}</td>'
            '<td>{}</td><td>{}</td><td class="number">{}</td><td class="number">{}</td></tr>',
            *(ROOT, call.id, clock(call.began), ended(call), call.carrier, call.caller or "withheld"),
            *(call.number or call.dialled, call.destination or "–", length(call.seconds), mos(call.mos)),
        )
        for call in calls
    ]
    heads = ("when", "outcome", "carrier", "from", "to", "taken by", "length", "MOS")
    return table("Calls that are over", heads, rows)


def _heads(*names: str) -> list[Html]:
    return [html('<th scope="col">{}</th>', name) for name in names]


def _more(where: str, search: str, cursor: str) -> Html | None:
    if not cursor:
        return None
    query = urlencode({"search": search, "cursor": cursor} if search else {"cursor": cursor})
    return html('<p><a href="{}/{}?{}">Older calls</a></p>', ROOT, where, query)

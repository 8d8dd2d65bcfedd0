"""One call: why, how long, how it sounded, and everything that went over the wire."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.calls.reasons import reason_of
from gateway.web.console.charts import audio_chart, stage_bars
from gateway.web.console.html import Html, html, join, table
from gateway.web.console.ladder_picture import picture
from gateway.web.console.layout import ROOT
from gateway.web.console.sessions import Session
from gateway.web.console.words import clock, ended, length, milliseconds, mos
from routing.call_records import CallShown, TraceRung


def call_body(call: CallShown, rungs: Sequence[TraceRung], note: str, session: Session) -> Html:
    """The page's body; note: why there is no trace, if there is none."""
    reason = reason_of(call)
    fix = html('<p class="fix"><strong>What to do:</strong> {}</p>', reason.fix) if reason.fix else None
    facts = [html("<div><dt>{}</dt><dd>{}</dd></div>", name, value) for name, value in _facts(call)]
    return join(
        [
            html('<p class="reason">{} {}</p>{}', ended(call), reason.text, fix),
            html('<dl class="facts">{}</dl>', facts),
            _hang_up(call, session) if not call.outcome and session.writes else None,
            _tried(call),
            html("<h2>Time of each stage</h2>{}", stage_bars(call.stages)),
            html("<h2>Audio</h2>{}{}", _legs(call), audio_chart(call.quality)),
            _trace(call, rungs, note),
        ]
    )


def _facts(call: CallShown) -> Iterator[tuple[str, object]]:
    yield "From", call.caller or "withheld"
    yield "To", call.number or call.dialled or "–"
    if call.dialled and call.dialled != call.number:
        yield "Dialled", call.dialled
    yield "Carrier", f"{call.carrier}, from {call.source}" if call.source else call.carrier
    yield "Began", clock(call.began)
    yield "Length", length(call.seconds)
    if call.status:
        yield "Final status", call.status
    if call.cause:
        yield "Ended by", call.cause
    if call.plan:
        yield "Plan", join(_plan(call))
    yield "MOS", mos(call.mos)
    yield "Gateway", call.node
    yield "Id", html("<code>{}</code>", call.id)
    if call.carrier_call_id:
        yield "Carrier's id", html("<code>{}</code>", call.carrier_call_id)
    yield "Call-IDs", join(html("<code>{}</code> ", each) for each in call.sip_call_ids)


def _plan(call: CallShown) -> Iterator[Html]:
    for index, name in enumerate(call.plan, 1):
        arrow = " → " if index > 1 else ""
        yield html("{}<strong>{}</strong>" if index == call.position else "{}{}", arrow, name)


def _hang_up(call: CallShown, session: Session) -> Html:
    return html(
        '<details class="danger"><summary>Hang up…</summary><form method="post" action="{}/calls/{}/hangup">'
        '<input type="hidden" name="csrf" value="{}"><button>End this call for both sides</button>'
        "</form></details>",
        *(ROOT, call.id, session.csrf),
    )


def _tried(call: CallShown) -> Html | None:
    if not call.tried:
        return None
    rows = [
        html(
            '<tr><td>{}</td><td>{}</td><td>{}</td><td class="number">{}</td></tr>',
            *(each.destination, each.endpoint or "–", each.answer, milliseconds(each.seconds)),
        )
        for each in call.tried
    ]
    heads = ("destination", "endpoint", "answer", "after")
    return html("<h2>Tried</h2>{}", table("Destinations that were tried", heads, rows))


def _legs(call: CallShown) -> Html | None:
    if not call.legs:
        return None
    rows = [
        html(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            *(leg.leg, leg.codec, leg.packets_in, leg.packets_out, leg.lost, milliseconds(leg.jitter)),
            *("–" if leg.round_trip is None else milliseconds(leg.round_trip), mos(leg.mos)),
        )
        for leg in call.legs
    ]
    heads = ("leg", "codec", "packets in", "packets out", "lost", "jitter", "round trip", "MOS")
    return table("Audio of each leg", heads, rows)


def _trace(call: CallShown, rungs: Sequence[TraceRung], note: str) -> Html:
    if not rungs:
        return html("<h2>Ladder</h2><p>{}</p>", note or "No message of this call is kept.")
    messages = [_message(index, rung) for index, rung in enumerate(rungs) if rung.message]
    return html(
        '<h2>Ladder</h2><p><a href="{}/calls/{}/trace.txt">Download as text</a> · '
        '<a href="{}/calls/{}/trace.pcap">Download as pcap</a>, for Wireshark or sngrep. '
        'Times are milliseconds from the INVITE.</p><div class="wide">{}</div>'
        '<h2>Messages and events</h2><div id="messages">{}</div>',
        *(ROOT, call.id, ROOT, call.id, picture(rungs), [*messages, _moments(rungs)]),
    )


def _message(index: int, rung: TraceRung) -> Html:
    way = f"{rung.local} → {rung.remote}" if rung.out else f"{rung.remote} → {rung.local}"
    return html(
        '<details id="m{}"><summary>{} {} <small>{} ms, {} {}</small></summary>'
        '<pre tabindex="0" aria-label="Message {}">{}</pre></details>',
        *(index, "→" if rung.out else "←", rung.label, f"{rung.at * 1000:,.1f}", rung.transport.upper(), way),
        *(index, rung.message),
    )


def _moments(rungs: Sequence[TraceRung]) -> Html | None:
    moments = [
        html("<li>{} ms, {}: {}</li>", f"{rung.at * 1000:,.1f}", rung.kind, rung.label)
        for rung in rungs
        if not rung.message
    ]
    return html("<h3>Events</h3><ul>{}</ul>", moments) if moments else None

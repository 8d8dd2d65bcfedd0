"""A call's ladder as a picture: three lines of life, an arrow a message, a dot for all else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.web.console.html import Html, html
from routing.call_records import TraceRung

ROW: Final = 26
TOP: Final = 34
"""Units between two rungs, and above the first one."""

CALLER, GATEWAY, AGENT, WIDTH = 130, 420, 710, 960
"""Where the lines of life are."""

MAX_TEXT: Final = 64
"""Characters of what happened that are drawn; the list below has all."""

_PICTURE: Final = """<svg class="ladder" viewBox="0 0 {width} {height}" role="group" aria-label="{label}">
<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0 0 8 4 0 8z"/></marker></defs>
{lines}{rungs}</svg>"""


def picture(rungs: Sequence[TraceRung]) -> Html:
    """The picture; each message links to its text, ``#m`` and its number."""
    height = TOP + ROW * (len(rungs) + 1)
    lines = [
        html(
            '<text class="side" x="{}" y="16">{}</text><line class="life" x1="{}" x2="{}" y1="24" y2="{}"/>',
            *(x, name, x, x, height - 8),
        )
        for x, name in ((CALLER, "caller"), (GATEWAY, "gateway"), (AGENT, "agent"))
    ]
    drawn = [_rung(index, rung) for index, rung in enumerate(rungs)]
    label = f"Ladder diagram: {len(rungs)} messages and events; each message is a link to its text below"
    return html(_PICTURE, width=WIDTH, height=height, label=label, lines=lines, rungs=drawn)


def _rung(index: int, rung: TraceRung) -> Html:
    y = TOP + ROW * (index + 1) - 8
    time = html('<text class="at" x="8" y="{}">{}</text>', y + 4, f"{rung.at * 1000:,.1f}")
    if rung.side == "gateway":
        text = f"{rung.kind}: {rung.label}"
        text = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
        return html(
            '{}<circle class="moment {}" cx="{}" cy="{}" r="5"/><text class="moment" x="{}" y="{}">{}</text>',
            *(time, rung.kind, GATEWAY, y, GATEWAY + 14, y + 4, text),
        )
    left, right = (CALLER, GATEWAY) if rung.side == "caller" else (GATEWAY, AGENT)
    to_right = rung.out == (rung.side == "agent")
    start, end = (left + 4, right - 2) if to_right else (right - 4, left + 2)
    return html(
        '{}<a href="#m{}" class="message {}{}"><rect class="hit" x="{}" y="{}" width="{}" height="{}"/>'
        '<line x1="{}" x2="{}" y1="{}" y2="{}" marker-end="url(#head)"/>'
        '<text x="{}" y="{}">{}{}</text></a>',
        *(time, index, _kind(rung.label), " again" if rung.again else ""),
        *(left, y - 16, right - left, ROW - 2),
        *(start, end, y + 4, y + 4),
        *((left + right) / 2, y - 2, rung.label, " (again)" if rung.again else ""),
    )


def _kind(label: str) -> str:
    """Which colour a message has: by its hundred, or a request's."""
    return f"s{label[0]}" if label[:1].isdigit() else "request"

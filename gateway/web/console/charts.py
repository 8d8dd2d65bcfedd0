"""How long a call's stages took, and how its audio did: pictures, with the same in words or a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.web.console.html import Html, html, table
from gateway.web.console.words import length, milliseconds
from routing.call_records import AudioSample

STAGES: Final = {
    "trying": "INVITE → 100",
    "lookup": "finding the route",
    "dispatch": "route → first attempt sent",
    "agent_response": "attempt → agent's first word",
    "agent_answer": "attempt → agent's answer",
    "failover": "given up → next attempt",
    "answer": "INVITE → 200",
    "voicemail_start": "answer → message begins",
}
"""Names of `gateway_call_stage_seconds`, for people, in order of time."""

BAR: Final = 300
"""Units of the longest bar."""

WIDTH, HEIGHT, MARGIN = 720, 180, 36
"""Of the chart of audio."""

LOWEST, HIGHEST = 1.0, 4.5
"""MOS."""

GOOD, FAIR = 4.03, 3.6
"""ITU-T G.109: from here on users are satisfied, some are dissatisfied."""


def stage_bars(stages: Mapping[str, float]) -> Html:
    """A bar for each stage."""
    if not stages:
        return html("<p>No stage was reached.</p>")
    longest = max(stages.values()) or 1.0
    named = [(name, STAGES.get(name, name)) for name in (*STAGES, *stages) if name in stages]
    rows = [
        html(
            '<tr><th scope="row">{}</th><td class="number">{}</td><td aria-hidden="true">'
            '<svg class="bar" viewBox="0 0 {} 12" preserveAspectRatio="none">'
            '<rect width="{}" height="12"/></svg></td></tr>',
            *(text, milliseconds(stages[name]), BAR, f"{max(1.0, BAR * stages[name] / longest):.1f}"),
        )
        for name, text in dict(named).items()
    ]
    return html(
        '<table class="stages"><caption class="hidden">Time of each stage</caption><tbody>{}</tbody></table>',
        rows,
    )


def audio_chart(samples: Sequence[AudioSample]) -> Html:
    """MOS over time, with loss as bars."""
    if not samples:
        return html("<p>No audio of this call was measured: it was short, or passed by us.</p>")
    end = max(samples[-1].at, 1.0)

    def x(at: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * at / end

    def y(mos: float) -> float:
        return HEIGHT - 24 - (HEIGHT - 36) * (mos - LOWEST) / (HIGHEST - LOWEST)

    points = " ".join(f"{x(each.at):.1f},{y(each.mos):.1f}" for each in samples)
    dots = [
        html('<circle cx="{}" cy="{}" r="2.5"/>', f"{x(each.at):.1f}", f"{y(each.mos):.1f}")
        for each in samples
    ]
    losses = [
        html(
            '<rect class="loss" x="{}" y="{}" width="4" height="{}"/>',
            *(f"{x(each.at) - 2:.1f}", f"{HEIGHT - 24 - 60 * min(1.0, each.loss * 5):.1f}"),
            f"{60 * min(1.0, each.loss * 5):.1f}",
        )
        for each in samples
        if each.loss
    ]
    grid = [
        html(
            '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="4" y="{}">{}</text>',
            *(
                MARGIN,
                WIDTH - MARGIN,
                f"{y(value):.1f}",
                f"{y(value):.1f}",
                f"{y(value) + 4:.1f}",
                f"{value:g}",
            ),
        )
        for value in (1.0, 2.0, 3.0, 4.0, 4.5)
    ]
    worst = min(each.mos for each in samples)
    label = f"MOS over {length(end)}: between {worst:.1f} and {max(each.mos for each in samples):.1f}"
    rows = [
        html(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            *(length(each.at), f"{each.mos:.2f}", f"{each.loss:.1%}", milliseconds(each.jitter)),
        )
        for each in samples
    ]
    return html(
        '<figure><svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}'
        '<polyline points="{}"/>{}<text x="{}" y="{}">0</text><text class="end" x="{}" y="{}">{}</text></svg>'
        "<figcaption>What came from the caller: MOS as a line, lost packets as bars.</figcaption></figure>"
        "<details><summary>As a table</summary>{}</details>",
        *(WIDTH, HEIGHT, label, grid, losses, points, dots),
        *(MARGIN, HEIGHT - 6, WIDTH - MARGIN, HEIGHT - 6, length(end)),
        table("Audio over time", ("at", "MOS", "loss", "jitter"), rows),
    )

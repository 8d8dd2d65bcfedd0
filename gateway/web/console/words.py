"""Times, lengths and states as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.web.console.html import Html, html
from routing.call_records import CallShown


def clock(seconds: float) -> Html:
    """A moment, in the browser's zone if scripts run."""
    at = datetime.fromtimestamp(seconds, UTC)
    shown = at.strftime("%Y-%m-%d %H:%M:%S")
    return html('<time datetime="{}">{} UTC</time>', at.isoformat(timespec="seconds"), shown)


def length(seconds: float) -> str:
    """A duration."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def milliseconds(seconds: float) -> str:
    """A stage's time."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def badge(text: str) -> Html:
    """A state or an outcome, in its colour."""
    kind = text.removesuffix("_rescued")
    return html(
        '<span class="badge {}">{}</span>', kind if kind.isalpha() else "other", text.replace("_", " ")
    )


def ended(call: CallShown) -> Html:
    """How a call ended, or what it does."""
    return badge(call.outcome or call.state)


def mos(value: float | None) -> str:
    """A MOS."""
    return "–" if value is None else f"{value:.1f}"

"""A call as a ladder: every message of both legs and everything else that happened, on one axis of time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from gateway.traces.log import call_id_of
from gateway.traces.segments import Entry

Side: TypeAlias = Literal["caller", "agent", "gateway"]

WIDTH: Final = 27
"""Characters between two sides in a picture of text."""

_METHOD: Final = re.compile(rb"\ncseq[ \t]*:[ \t]*\d+[ \t]+([A-Z]+)", re.IGNORECASE)

MAX_LABEL: Final = 60
"""Characters of a label: methods and reason phrases are the peer's words."""


class Moment(Protocol):
    """Something that happened besides SIP."""

    @property
    def at(self) -> float:
        """Seconds since the call began."""

    @property
    def kind(self) -> str:
        """A word."""

    @property
    def text(self) -> str:
        """For people."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One thing that happened.

    at: seconds since its first message.
    side: whom a message was exchanged with; ``gateway`` for what happened in between.
    out: we sent it; no matter for ``gateway``.
    label: e.g. ``INVITE``, ``180 Ringing``, or what happened; kind: of what happened, empty for a message.
    again: the same message had been seen before.
    entry: the message.
    """

    at: float
    side: Side
    out: bool
    label: str
    kind: str = ""
    again: bool = False
    entry: Entry | None = None


def rungs(entries: Iterable[Entry], moments: Iterable[Moment], began: float) -> list[Rung]:
    """Everything in order.

    began: seconds since the epoch; legs that came in by an INVITE are the caller's, the others agents'.
    """
    entries = list(entries)
    callers = {call_id_of(each.data) for each in entries if not each.out and each.data.startswith(b"INVITE ")}
    first = min((entry.at for entry in entries), default=began)
    seen: set[tuple[bool, bytes]] = set()
    found = []
    for entry in entries:
        side: Side = "caller" if call_id_of(entry.data) in callers else "agent"
        key = entry.out, entry.data
        label = label_of(entry.data)
        found.append(Rung(entry.at - first, side, entry.out, label, again=key in seen, entry=entry))
        seen.add(key)
    found += [Rung(began + each.at - first, "gateway", True, each.text, kind=each.kind) for each in moments]
    return sorted(found, key=lambda rung: rung.at)


def label_of(message: bytes) -> str:
    """``INVITE``, or ``180 Ringing``; with the method if that is no INVITE, and whether it has SDP."""
    first = message.partition(b"\r\n")[0]
    if first.startswith(b"SIP/2.0 "):
        label = first[8:]
        method = _METHOD.search(message)
        if method is not None and method[1] != b"INVITE":
            label += b" (" + method[1] + b")"
    else:
        label = first.partition(b" ")[0]
    text = label.decode("utf-8", "replace")[:MAX_LABEL]
    return f"{text} +SDP" if b"\r\n\r\nv=0" in message else text


def draw(ladder: Sequence[Rung], names: tuple[str, str, str] = ("caller", "gateway", "agent")) -> str:
    """The picture in text, times in milliseconds."""
    left, middle, right = names
    lines = [f"{'ms':>10}  {left:<{WIDTH}}{middle:<{WIDTH}} {right}"]
    empty = " " * WIDTH
    for rung in ladder:
        time = f"{rung.at * 1000:10.1f}  "
        label = f"{rung.label} (again)" if rung.again else rung.label
        match rung.side:
            case "caller":
                lines.append(f"{time}│{_arrow(label, right=not rung.out)}│{empty}│")
            case "agent":
                lines.append(f"{time}│{empty}│{_arrow(label, right=rung.out)}│")
            case "gateway":
                lines.append(f"{time}│{empty}● {rung.kind}: {label}")
    return "\n".join(lines)


def _arrow(label: str, *, right: bool) -> str:
    shaft = f" {label[: WIDTH - 5]} ".center(WIDTH - 1, "─")
    return f"{shaft}▶" if right else f"◀{shaft}"

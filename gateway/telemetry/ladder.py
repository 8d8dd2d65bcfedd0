"""What happened on the wire, as a picture in text: a line a message, arrows between two sides, times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

WIDTH: Final = 46
"""Characters between the two sides."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    at: seconds, on whatever clock.
    direction: ``"out"`` is drawn to the right.
    label: e.g. ``INVITE`` or ``180 Ringing``.
    """

    at: float
    direction: Literal["in", "out"]
    label: str


def draw(messages: Sequence[Message], here: str, there: str) -> str:
    """The ladder; times are milliseconds since the first message.

    here, there: names of the two sides.
    """
    lines = [f"{'':>11}{here:<{WIDTH // 2}}{there:>{WIDTH - WIDTH // 2}}"]
    start = messages[0].at if messages else 0.0
    for message in messages:
        label = f" {message.label} "
        shaft = label.center(WIDTH - 3, "─")
        arrow = f"│{shaft}▶│" if message.direction == "out" else f"│◀{shaft}│"
        lines.append(f"{(message.at - start) * 1000:8.1f}   {arrow}")
    return "\n".join(lines)

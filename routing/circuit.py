"""A circuit breaker for one endpoint: closed, open, half-open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FAILURES_TO_OPEN: Final = 3
"""Failures in a row before an endpoint is left alone; one may be bad luck, three are not."""

OPEN_SECONDS: Final = 5.0
"""How long it is left alone the first time; doubled each time up to `OPEN_SECONDS_MAX`."""

OPEN_SECONDS_MAX: Final = 60.0


@dataclass(slots=True)
class Circuit:
    """What is known of one endpoint's state.

    open_until: seconds of the caller's clock; None while closed. After it one trial is let through
        (half-open).
    reason: the last failure.
    """

    failures: int = 0
    open_until: float | None = None
    open_for: float = OPEN_SECONDS
    trial: bool = False
    reason: str = ""

    def admits(self, now: float) -> bool:
        """Whether a call may be tried now."""
        return self.open_until is None or (now >= self.open_until and not self.trial)

    def begin(self, now: float) -> None:
        """A call is tried: in the half-open state it is the trial."""
        if self.open_until is not None and now >= self.open_until:
            self.trial = True

    def abandon(self) -> None:
        """The trial ended without telling anything (the caller hung up): another may follow."""
        self.trial = False

    def succeeded(self) -> None:
        """The endpoint is alive: closed, as if nothing had been."""
        self.failures, self.open_until, self.open_for, self.trial, self.reason = (
            0,
            None,
            OPEN_SECONDS,
            False,
            "",
        )

    def failed(self, now: float, reason: str, threshold: int = FAILURES_TO_OPEN) -> bool:
        """The endpoint is in trouble. Returns whether this opened the circuit."""
        self.failures += 1
        self.reason = reason
        was_open = self.open_until is not None
        if was_open:
            if not self.trial and self.open_until is not None and now < self.open_until:
                return False  # a call that had begun before it opened
            self.open_for = min(self.open_for * 2, OPEN_SECONDS_MAX)
        elif self.failures < threshold:
            return False
        self.trial = False
        self.open_until = now + self.open_for
        return not was_open

"""What a person at the terminal did or has to mend."""

from __future__ import annotations


class UsageError(Exception):
    """A command cannot do what was asked; the message is one line with the fix."""

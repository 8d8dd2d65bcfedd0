"""Variables in voicemail messages, as in `{{caller}}`: which there are, and what a message says with them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Final

VARIABLES: Final = ("caller", "dialled", "agent")
"""The calling number, the dialled number, the name of the agent that the call was meant for."""

MARK: Final = "{{"
"""Without it a message has no variables, which most have not."""

_VARIABLE: Final = re.compile(r"\{\{\s*(.*?)\s*\}\}")

_SHOWN: Final = 40
"""Characters of an unknown name that an error repeats."""


def faults(message: str) -> Iterator[tuple[str, str]]:
    """What is wrong with a message's variables, each with what to do about it."""
    choice = ", ".join(f"{{{{{name}}}}}" for name in VARIABLES)
    for name in _VARIABLE.findall(message):
        if name not in VARIABLES:
            near = difflib.get_close_matches(name, VARIABLES, 1)
            hint = f"did you mean {{{{{near[0]}}}}}?" if near else f"there are {choice}"
            yield f"{{{{{name[:_SHOWN]}}}}} is no variable", hint
    if MARK in _VARIABLE.sub("", message):
        yield "a variable is not closed", f"write }}}} behind its name: {choice}"


def names(message: str) -> frozenset[str]:
    """The variables that a message has."""
    return frozenset(_VARIABLE.findall(message)) if MARK in message else frozenset()


def filled(message: str, values: Mapping[str, str]) -> str:
    """The message with values in place of variables; nothing in place of those that have none."""
    return _VARIABLE.sub(lambda found: values.get(found[1], ""), message)

"""Text as engines may have it: one line, printable, bounded."""

from __future__ import annotations

import unicodedata

from gateway.speech.errors import UnspeakableTextError

MAX_CHARACTERS = 2000
"""Over two minutes of speech, longer than any caller listens to; keeps one message from occupying an
engine."""


def speakable(text: str) -> str:
    """Clean a message: control characters and runs of white space become single spaces.

    A longer text than `MAX_CHARACTERS` is cut at the last word that fits.

    Raises:
        UnspeakableTextError: no letter or digit is left.

    """
    printable = "".join(" " if unicodedata.category(each)[0] == "C" else each for each in text)
    words = " ".join(printable.split())
    if len(words) > MAX_CHARACTERS:
        words = words[: MAX_CHARACTERS + 1].rpartition(" ")[0] or words[:MAX_CHARACTERS]
    if not any(each.isalnum() for each in words):
        raise UnspeakableTextError("the message holds no letter or digit to speak")
    return words

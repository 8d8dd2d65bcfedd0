from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.errors import UnspeakableTextError
from gateway.speech.text import MAX_CHARACTERS, speakable


@given(st.text())
def test_what_is_left_is_printable_bounded_and_stable(text: str) -> None:
    try:
        clean = speakable(text)
    except UnspeakableTextError:
        return
    assert 0 < len(clean) <= MAX_CHARACTERS
    assert not any(unicodedata.category(each)[0] == "C" for each in clean)
    assert speakable(clean) == clean


def test_white_space_and_controls_become_single_spaces() -> None:
    assert speakable("  Hello,\r\n\tMrs\x00 Ömür \x1b[31m!  ") == "Hello, Mrs Ömür [31m!"


@pytest.mark.parametrize("text", ["", "   ", "\0\0", "...!?", "\ud800"])
def test_nothing_to_speak_is_refused(text: str) -> None:
    with pytest.raises(UnspeakableTextError):
        speakable(text)


def test_a_long_text_is_cut_between_words() -> None:
    clean = speakable("word " * 1000)
    assert len(clean) <= MAX_CHARACTERS
    assert clean.endswith("word")
    assert len(speakable("x" * 5000)) == MAX_CHARACTERS
    assert speakable("a" * MAX_CHARACTERS + " b") == "a" * MAX_CHARACTERS

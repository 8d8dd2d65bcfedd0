from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.recordings.names import recorded_at


@pytest.mark.parametrize("end", ["wav", "ogg", "json"])
@pytest.mark.parametrize("name", ["0123456789abcdef", "0123456789abcdef-call"])
def test_ours_say_when_they_began(name: str, end: str) -> None:
    assert recorded_at(f"1970-01-02/000001-{name}.{end}") == 86_401


@pytest.mark.parametrize(
    "key",
    [
        "notes.txt",
        "1970-01-02/notes.json",
        "1970-01-02/000001-a.mp3",
        "1970-13-02/000001-a.wav",
        "1970-01-02/996001-a.wav",
        "backup/1970-01-02/000001-a.wav",
        "1970-01-02/000001-a.wav.bak",
    ],
)
def test_others_are_not_ours(key: str) -> None:
    assert recorded_at(key) is None


@given(st.text())
def test_nothing_raises(key: str) -> None:
    recorded_at(key)

"""Telephone numbers as people say them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.numbers import spoken_number

US, GERMAN = "+14155550100", "+4930901820"


@pytest.mark.parametrize(
    ("number", "heard_in", "spoken"),
    [
        ("+14155550111", US, "4 1 5, 5 5 5, 0 1 1 1"),
        ("+14155550111", GERMAN, "plus 1, 4 1 5, 5 5 5, 0 1 1 1"),
        (GERMAN, GERMAN, "0 3 0, 9 0 1 8 2 0"),
        (GERMAN, US, "plus 4 9, 3 0, 9 0 1 8 2 0"),
        ("+14155550111", "", "plus 1, 4 1 5, 5 5 5, 0 1 1 1"),
        ("12345", US, "1 2, 3 4, 5"),
        ("+999123", US, "9 9, 9 1, 2 3"),
    ],
)
def test_digits_in_groups(number: str, heard_in: str, spoken: str) -> None:
    assert spoken_number(number, heard_in) == spoken


@pytest.mark.parametrize("caller", ["", "anonymous", "Restricted", "+1 415", "+", "1" * 40, "415;x=1"])
def test_what_is_no_number_is_not_read_out(caller: str) -> None:
    assert spoken_number(caller, US) is None


@given(st.text(max_size=30), st.text(max_size=30))
def test_nothing_that_a_peer_writes_raises(number: str, heard_in: str) -> None:
    spoken = spoken_number(number, heard_in)
    assert spoken is None or set(spoken) <= set("0123456789, plus")

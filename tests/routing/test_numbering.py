"""Whatever a carrier dials, the same number comes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.numbering import E164, normalise


@pytest.mark.parametrize(
    "dialled",
    [
        "+14155550100",
        "14155550100",
        "0014155550100",
        "01114155550100",
        "4155550100",
        "(415) 555-0100",
        "415.555.0100",
        "+1 415 555 0100",
        "+1-415-555-0100;phone-context=+1",
        "+14155550100;ext=5",
    ],
)
def test_every_form_of_a_united_states_number(dialled: str) -> None:
    assert normalise(dialled, "US") == "+14155550100"


@pytest.mark.parametrize(
    ("dialled", "country", "expected"),
    [
        ("02079460123", "GB", "+442079460123"),
        ("442079460123", "GB", "+442079460123"),
        ("00442079460123", "GB", "+442079460123"),
        ("442079460123", "US", "+442079460123"),
        ("0442079460123", "US", None),
        ("01142079460123", "CA", "+42079460123"),
        ("030901820", "DE", "+4930901820"),
        ("5550100", "US", None),
    ],
)
def test_national_numbers_are_read_by_the_trunks_country(
    dialled: str, country: str, expected: str | None
) -> None:
    assert normalise(dialled, country) == expected


@pytest.mark.parametrize(
    "text",
    ["", "+", "anonymous", "+0123456789", "+1", "++14155550100", "+1415555O100", "1" * 65, "+" + "1" * 16],
)
def test_what_is_no_number_is_none(text: str) -> None:
    assert normalise(text, "US") is None


@given(st.text(max_size=80), st.sampled_from(["US", "GB", "DE", "XX"]))
def test_nothing_raises_and_only_e164_comes_out(text: str, country: str) -> None:
    found = normalise(text, country)
    assert found is None or E164.fullmatch(found)


@given(st.from_regex(E164, fullmatch=True))
def test_e164_stays_as_it_is_and_the_plus_may_be_missing_with_00(number: str) -> None:
    assert normalise(number) == number
    assert normalise("00" + number[1:]) == number

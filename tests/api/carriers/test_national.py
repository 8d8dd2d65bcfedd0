from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.carriers.national import contains_pattern, country_of, national_number


@pytest.mark.parametrize(
    ("number", "country", "national"),
    [
        ("+14155550111", "US", "4155550111"),
        ("+14165550111", "CA", "4165550111"),
        ("+442079460000", "GB", "2079460000"),
        ("+493023125000", "DE", "3023125000"),
        ("+18005550199", "US", "8005550199"),
        ("+88810000000", None, "10000000"),
        ("+99912345678", None, ""),
        ("nobody", None, ""),
    ],
)
def test_a_number_s_country_and_what_follows_its_code(number: str, country: str | None, national: str):
    assert country_of(number) == country
    assert national_number(number) == national


@pytest.mark.parametrize(
    ("contains", "number", "found"),
    [
        (None, "4155550111", True),
        ("0111", "4155550111", True),
        ("CAFE", "4152233111", True),
        ("55*01", "4155550111", True),
        ("5*5*6", "4155550111", False),
    ],
)
def test_what_contains_means(contains: str | None, number: str, found: bool):
    assert (contains_pattern(contains).search(number) is not None) is found


@given(st.text(max_size=40))
def test_any_text_has_a_country_or_none(text: str):
    country = country_of(text)
    assert country is None or (len(country) == 2 and country.isupper())
    assert national_number(text) == "" or national_number(text).isdigit()


@given(st.text(max_size=15))
def test_any_text_may_be_looked_for(text: str):
    contains_pattern(text).search("4155550111")

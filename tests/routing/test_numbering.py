"""Whatever a carrier dials, the same number comes out."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import assume, given
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
        # E.164 without its plus, as carriers send it, on trunks whose country dials with a leading 0:
        ("4915112345678", "DE", "+4915112345678"),
        ("14155550100", "DE", "+14155550100"),
        ("14155550100", "GB", "+14155550100"),
        ("14155550100", "CN", "+14155550100"),
        ("442079460123", "IN", "+442079460123"),
        ("390612345678", "IT", "+390612345678"),
        ("0612345678", "IT", "+390612345678"),
        ("74951234567", "RU", "+74951234567"),
        ("84951234567", "RU", "+74951234567"),
        # Two numbers each: the default country wins.
        ("13012345678", "CN", "+8613012345678"),
        ("13012345678", "US", "+13012345678"),
        ("6592234567", "US", "+16592234567"),
        ("6592234567", "GB", "+6592234567"),
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


@given(st.from_regex(r"[2-9][0-9]{2}[2-9][0-9]{6}", fullmatch=True), st.sampled_from(["US", "CA", "JM"]))
def test_ten_digits_are_the_same_number_in_every_form_of_the_north_american_plan(
    ten: str, country: str
) -> None:
    forms = [ten, f"1{ten}", f"001{ten}", f"0111{ten}", f"+1{ten}", f"({ten[:3]}) {ten[3:6]}-{ten[6:]}"]
    assert {normalise(form, country) for form in forms} == {f"+1{ten}"}


@given(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
def test_every_countrys_number_is_found_with_and_without_plus_and_in_national_form(country: str) -> None:
    example = phonenumbers.example_number(country)
    assume(example is not None)
    written = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    assume(E164.fullmatch(written))
    national = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
    assert normalise(written, country) == written
    assert normalise(written[1:], country) == written
    assert normalise("00" + written[1:], country) == written
    assert normalise(national, country) == written


@given(st.from_regex(E164, fullmatch=True))
def test_e164_stays_as_it_is_and_the_plus_may_be_missing_with_00(number: str) -> None:
    assert normalise(number) == number
    assert normalise("00" + number[1:]) == number

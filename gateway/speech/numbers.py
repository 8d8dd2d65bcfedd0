"""Telephone numbers as people say them: digit by digit, in groups."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumberFormat

_DIGITS: Final = re.compile(r"[0-9]+")

_NUMBER: Final = re.compile(r"\+?[0-9]{2,15}")
"""What is read out; what a caller is called otherwise is whatever somebody wrote into a header."""

PLUS: Final = "plus"


def spoken_number(number: str, heard_in: str = "") -> str | None:
    """A number as text for a speech engine: ``4 1 5, 5 5 5, 0 1 0 0``; None if it is none.

    number: E.164, or digits alone, which are read out in pairs.
    heard_in: a number in E.164; one of the same country is read out in national form.
    """
    if not _NUMBER.fullmatch(number):
        return None
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        digits = number.removeprefix("+")
        return _spaced(digits[at : at + 2] for at in range(0, len(digits), 2))
    national = _country_code(heard_in) == parsed.country_code
    form = PhoneNumberFormat.NATIONAL if national else PhoneNumberFormat.INTERNATIONAL
    groups = _spaced(_DIGITS.findall(phonenumbers.format_number(parsed, form)))
    return groups if national else f"{PLUS} {groups}"


def _country_code(number: str) -> int | None:
    try:
        return phonenumbers.parse(number).country_code
    except phonenumbers.NumberParseException:
        return None


def _spaced(groups: Iterable[str]) -> str:
    return ", ".join(" ".join(group) for group in groups)

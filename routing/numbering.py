"""What carriers dial, brought to E.164.

The same number arrives as ``+15551234567``, ``15551234567``, ``0015551234567``, ``(555) 123-4567`` or with
parameters behind it. A number that does not match for want of a plus is the commonest complaint about every
peer, so all of these mean the same here. The rules, in order:

1. Parameters after ``;`` and visual separators are taken away.
2. ``+`` and 7 to 15 digits: E.164 already.
3. ``00`` in front, or ``011`` for trunks of the North American plan: what follows is international.
4. Ten digits, or eleven with a leading 1, on a trunk of the North American plan: ``+1``.
5. Digits that are a valid number with a plus before them: so they are, if that number is of the trunk's
   own country or the digits are none in national form. This is how carriers write E.164 without its plus.
6. A number that is possible in the trunk's default country, with or without its trunk prefix.
7. A number that is possible with a plus before it.

Some digits are two numbers: 13012345678 is one of Maryland, and on a Chinese trunk one of China; there the
default country wins. Carriers that can be told to send a plus should be.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, TypeAlias

import phonenumbers

_Number: TypeAlias = phonenumbers.PhoneNumber

E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
"""E.164: at most fifteen digits. The API allows from two digits on; no country dials fewer than seven."""

_SEPARATORS: Final = str.maketrans("", "", " \t-.()/\u00a0\u2010\u2011\u2013")

_NANP: Final = frozenset(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[1])
"""Countries of the North American numbering plan."""

_NANP_NUMBER: Final = re.compile(r"1?([2-9][0-9]{2}[2-9][0-9]{6})")
"""Area code, exchange and line: NXX-NXX-XXXX."""

_NANP_INTERNATIONAL: Final = "011"

MAX_DIALLED: Final = 64
"""Characters of a dialled string that are looked at; E.164 has 16, separators and parameters may follow."""

CACHE_SIZE: Final = 65_536
"""Dialled strings remembered: consulting the numbering plans takes up to 100 µs, remembering 0.1. About 10 MB
when full."""


def normalise(dialled: str, default_country: str = "US") -> str | None:
    """The number in E.164, or None if the text is no telephone number.

    dialled: the user part of a SIP URI, or the number of a tel URI, escapes resolved.
    default_country: ISO 3166 code of the trunk's country, for numbers in national form.
    """
    if E164.fullmatch(dialled):
        return dialled
    if len(dialled) > MAX_DIALLED:
        return None
    return _normalise(dialled, default_country)


@lru_cache(maxsize=CACHE_SIZE)
def _normalise(dialled: str, country: str) -> str | None:
    digits = dialled.partition(";")[0].translate(_SEPARATORS)
    if digits.startswith("+"):
        return _e164(digits)
    if not (digits.isascii() and digits.isdigit()):
        return None
    if digits.startswith("00"):
        return _e164(f"+{digits[2:]}")
    if country in _NANP:
        if digits.startswith(_NANP_INTERNATIONAL):
            return _e164(f"+{digits[len(_NANP_INTERNATIONAL) :]}")
        if north_american := _NANP_NUMBER.fullmatch(digits):
            return f"+1{north_american[1]}"
    return _by_numbering_plans(digits, country)


def _by_numbering_plans(digits: str, country: str) -> str | None:
    national = _possible(digits, country)
    international = _possible(f"+{digits}", None)
    if international and phonenumbers.is_valid_number(international):
        own = international.country_code == phonenumbers.country_code_for_region(country)
        if own or not (national and phonenumbers.is_valid_number(national)):
            return _written(international)
    number = national or international
    return _written(number) if number else None


def _possible(text: str, country: str | None) -> _Number | None:
    """The number of that text, unless no such number can be dialled from everywhere."""
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    # A number that could be dialled within its own town only (IS_POSSIBLE_LOCAL_ONLY) names nobody here.
    reason = phonenumbers.is_possible_number_with_reason(number)
    return number if reason == phonenumbers.ValidationResult.IS_POSSIBLE else None


def _written(number: _Number) -> str | None:
    return _e164(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _e164(text: str) -> str | None:
    return text if E164.fullmatch(text) else None

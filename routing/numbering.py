"""What carriers dial, brought to E.164.

The same number arrives as ``+15551234567``, ``15551234567``, ``0015551234567``, ``(555) 123-4567`` or with
parameters behind it. A number that does not match for want of a plus is the commonest complaint about every
peer, so all of these mean the same here. The rules, in order:

1. Parameters after ``;`` and visual separators are taken away.
2. ``+`` and 7 to 15 digits: E.164 already.
3. ``00`` in front, or ``011`` for trunks of the North American plan: what follows is international.
4. A number that is valid in the trunk's default country: ten digits, or eleven with a leading 1, in the USA.
5. Else digits that make a valid number with a plus before them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import phonenumbers

E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
"""E.164: at most fifteen digits. The API allows from two digits on; no country dials fewer than seven."""

_SEPARATORS: Final = str.maketrans("", "", " \t-.()/\u00a0\u2010\u2011\u2013")

_NANP_INTERNATIONAL: Final = "011"
_NANP: Final = frozenset(
    [
        "US",
        "CA",
        "PR",
        "AG",
        "AI",
        "AS",
        "BB",
        "BM",
        "BS",
        "DM",
        "DO",
        "GD",
        "GU",
        "JM",
        "KN",
        "KY",
        "LC",
        "MP",
        "MS",
        "SX",
        "TC",
        "TT",
        "VC",
        "VG",
        "VI",
    ]
)

MAX_DIALLED: Final = 64
"""Characters of a dialled string that are looked at; E.164 has 16, separators and parameters may follow."""

CACHE_SIZE: Final = 65_536
"""Dialled strings remembered: parsing with the numbering plans takes 15 µs, remembering 0.1. About 10 MB
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
        return digits if E164.fullmatch(digits) else None
    if not (digits.isascii() and digits.isdigit()):
        return None
    if digits.startswith("00"):
        return _international(digits[2:])
    if country in _NANP and digits.startswith(_NANP_INTERNATIONAL):
        return _international(digits[len(_NANP_INTERNATIONAL) :])
    return _national(digits, country) or _international(digits, strict=True)


def _national(digits: str, country: str) -> str | None:
    try:
        number = phonenumbers.parse(digits, country)
    except phonenumbers.NumberParseException:
        return None
    # A number that could be dialled within its own town only (IS_POSSIBLE_LOCAL_ONLY) names nobody here.
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    # "15551234567" with default country US parses as national with its trunk prefix 1: the same number.
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return written if E164.fullmatch(written) else None


def _international(digits: str, *, strict: bool = False) -> str | None:
    written = f"+{digits}"
    if not E164.fullmatch(written):
        return None
    if not strict:
        return written
    try:
        number = phonenumbers.parse(written)
    except phonenumbers.NumberParseException:
        return None
    return written if phonenumbers.is_possible_number(number) else None

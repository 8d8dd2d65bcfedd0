"""National numbers: which country a number is of, and what a search for some of its digits matches."""

from __future__ import annotations

import re
from typing import Final

import phonenumbers

NANP: Final = frozenset(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[1])
"""Countries of the North American numbering plan, where an area code is three digits."""

_KEYS: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "22233344455566677778889999")


def on_keys(text: str) -> str:
    """Letters as the digits that they stand on (ITU-T E.161)."""
    return text.upper().translate(_KEYS)


def contains_pattern(contains: str | None) -> re.Pattern[str]:
    """What `NumberQuery.contains` means, for a search in a national number; None is in every one."""
    return re.compile(re.escape(on_keys(contains or "")).replace(r"\*", "[0-9]"))


def national_number(phone_number: str) -> str:
    """The digits after the country code; empty for what is no number."""
    parsed = _parsed(phone_number)
    return "" if parsed is None else phonenumbers.national_significant_number(parsed)


def country_of(phone_number: str) -> str | None:
    """ISO 3166 of the country that a number is of; None if nobody's."""
    parsed = _parsed(phone_number)
    if parsed is None:
        return None
    region = phonenumbers.region_code_for_number(parsed)
    if region is None:  # possible, but not handed out, as the digits kept for fiction
        region = phonenumbers.region_code_for_country_code(parsed.country_code or 0)
    return region if region and re.fullmatch("[A-Z]{2}", region) and region != "ZZ" else None


def _parsed(phone_number: str) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(phone_number)
    except phonenumbers.NumberParseException:
        return None

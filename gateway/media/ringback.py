"""Ringback tones: what a caller hears while the far end rings, as in the caller's own country.

The table is ITU-T E.180 Supplement 2 (various tones used in national networks), shortened to the countries
whose tone is not the one that E.180 §4 recommends, which everybody else gets: 425 Hz, one second in five.
Tones that are modulated (400 Hz by 25 Hz) stand as the two tones that a modulation is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gateway.media.tones import silence, tone

LEVEL: Final = -19.0
"""dBm0 of each frequency; what North America's precise tone plan says, and quiet enough for anywhere."""

KNOWN_RINGBACKS: Final = 64
"""Periods kept: all of the table, some 3 MB if all of it rings."""


@dataclass(frozen=True, slots=True)
class Cadence:
    """One period of a ringback tone.

    frequencies: Hz, sounding together.
    beats: seconds of tone and of silence, in turn.
    """

    frequencies: tuple[float, ...]
    beats: tuple[float, ...]


_NORTH_AMERICA: Final = Cadence((440.0, 480.0), (2.0, 4.0))
_BRITISH: Final = Cadence((400.0, 450.0), (0.4, 0.2, 0.4, 2.0))
_MODULATED: Final = Cadence((375.0, 425.0), (0.4, 0.2, 0.4, 2.0))
_RECOMMENDED: Final = Cadence((425.0,), (1.0, 4.0))

_OTHERS: Final = {
    "AR": Cadence((425.0,), (1.0, 4.5)),
    "AT": Cadence((420.0,), (1.0, 5.0)),
    "AU": Cadence((413.0, 438.0), (0.4, 0.2, 0.4, 2.0)),
    "BE": Cadence((425.0,), (1.0, 3.0)),
    "CL": Cadence((400.0,), (1.0, 3.0)),
    "CN": Cadence((450.0,), (1.0, 4.0)),
    "ES": Cadence((425.0,), (1.5, 3.0)),
    "FR": Cadence((440.0,), (1.5, 3.5)),
    "GB": _BRITISH,
    "HK": Cadence((440.0, 480.0), (0.4, 0.2, 0.4, 3.0)),
    "HU": Cadence((425.0,), (1.25, 3.75)),
    "IE": _BRITISH,
    "IL": Cadence((400.0,), (1.0, 3.0)),
    "IN": _MODULATED,
    "JP": Cadence((384.0, 416.0), (1.0, 2.0)),
    "KR": Cadence((440.0, 480.0), (1.0, 2.0)),
    "MY": Cadence((425.0,), (0.4, 0.2, 0.4, 2.0)),
    "NZ": _BRITISH,
    "PT": Cadence((425.0,), (1.0, 5.0)),
    "SE": Cadence((425.0,), (1.0, 5.0)),
    "SG": Cadence((401.0, 449.0), (0.4, 0.2, 0.4, 2.0)),
    "TR": Cadence((450.0,), (2.0, 4.0)),
    "TW": Cadence((440.0, 480.0), (1.0, 2.0)),
    "ZA": Cadence((367.0, 433.0), (0.4, 0.2, 0.4, 2.0)),
}

_NUMBERING_PLAN: Final = frozenset(
    (
        *("AG", "AI", "AS", "BB", "BM", "BS", "CA", "DM", "DO", "GD", "GU", "JM", "KN"),
        *("KY", "LC", "MP", "MS", "PR", "SX", "TC", "TT", "US", "VC", "VG", "VI"),
    )
)
"""The countries of the North American Numbering Plan, ISO 3166."""


def cadence(country: str) -> Cadence:
    """A country's ringback tone.

    country: ISO 3166 code, upper case; one that is not known gets the recommended tone.
    """
    if country in _NUMBERING_PLAN:
        return _NORTH_AMERICA
    return _OTHERS.get(country, _RECOMMENDED)


def ringback(country: str) -> bytes:
    """One period of a country's ringback tone, to be repeated: PCM16 mono 8 kHz, a whole number of frames."""
    return _period(cadence(country))


@lru_cache(KNOWN_RINGBACKS)
def _period(cadence: Cadence) -> bytes:
    parts = [
        silence(seconds) if number % 2 else tone(cadence.frequencies, seconds, LEVEL)
        for number, seconds in enumerate(cadence.beats)
    ]
    pcm = b"".join(parts)
    return pcm + bytes(-len(pcm) % 320)

"""How a call sounded, as a number: the E-model (ITU-T Rec. G.107), fed with what a gateway can measure.

The model's rating R starts at 93.2, what a connection has whose every other parameter is at its default, and
loses

- Ie,eff for the codec and for lost packets (§7.5; codecs' values from G.113 Appendix I),
- Idd for the delay from mouth to ear beyond 100 ms (§7.4; nobody echoes here, so the echo terms are left
  out).

MOS follows from R (Annex B). The scale is that of narrow band: G.722, L16 and Opus are not credited for the
width of what they carry, so that a number means the same in every call.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from gateway.media.reception import PortStats

DEFAULT_RATING: Final = 93.2
"""R with all parameters at their defaults (G.107 §7.7)."""

WORST, BEST = 1.0, 4.5

PACKET_SECONDS: Final = 0.02
"""What a packet carries: its first sample waits for that long."""

BUFFER_JITTERS: Final = 2.0
"""Jitters that a receiver's buffer holds back, beside one packet: adaptive ones hover around this."""


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a codec does to speech: `ie` without loss, `bpl` how well it stands loss (G.113 Appendix I)."""

    ie: float
    bpl: float


WITH_CONCEALMENT: Final = Impairment(0.0, 25.1)
"""G.711 whose receiver conceals losses; also for what is not in the table and sounds no worse."""

CODECS: Final = {
    "G723": Impairment(15.0, 16.1),
    "G729": Impairment(11.0, 19.0),
    "GSM": Impairment(20.0, 43.0),
    "GSM-EFR": Impairment(5.0, 10.0),
}
"""By the encoding name of SDP, upper case; G.729 is that with silence suppression."""


@dataclass(frozen=True, slots=True)
class LegQuality:
    """How one leg of a call did.

    leg: ``caller``, or the agent's id.
    codec: the encoding name of SDP; empty when none was agreed.
    packets_in, packets_out: RTP.
    lost: packets that the peer sent and we did not get.
    jitter: seconds, of what we got.
    round_trip: seconds to the peer and back, the mean of what its reports allowed to measure; None without
        any.
    far_lost, far_jitter: packets and seconds, as the peer reported of what we sent; None without reports.
    mos: 1 to 4.5, estimated for what came from the peer; None if nothing did.
    """

    leg: str
    codec: str
    packets_in: int
    packets_out: int
    lost: int
    jitter: float
    round_trip: float | None
    far_lost: int | None
    far_jitter: float | None
    mos: float | None


def leg_quality(leg: str, stats: PortStats) -> LegQuality:
    """Sum up what a port has seen."""
    return LegQuality(
        leg,
        stats.codec,
        stats.packets_in,
        stats.packets_out,
        stats.lost,
        stats.jitter,
        stats.round_trip,
        stats.far_lost,
        stats.far_jitter,
        stream_mos(stats),
    )


def stream_mos(stats: PortStats) -> float | None:
    """The MOS of what a port received; None if that was nothing, or nobody knows how much was lost."""
    if not stats.packets_in or not stats.measured:
        return None
    loss = stats.lost / (stats.packets_in + stats.lost)
    return mos(rating(stats.codec, loss, one_way_delay(stats.round_trip or 0.0, stats.jitter)))


def one_way_delay(round_trip: float, jitter: float) -> float:
    """Seconds from mouth to ear over one leg: half of the way and back, one packet, and the jitter buffer."""
    return round_trip / 2 + 2 * PACKET_SECONDS + BUFFER_JITTERS * jitter


def rating(codec: str, loss: float, delay: float) -> float:
    """R of G.107.

    codec: encoding name; loss: share of packets, 0 to 1, lost at random; delay: seconds from mouth to ear.
    """
    return DEFAULT_RATING - _delay_impairment(delay) - _equipment_impairment(codec, loss)


def mos(rating: float) -> float:
    """The mean opinion score of an R (G.107 Annex B)."""
    if rating <= 0:
        return WORST
    if rating >= 100:
        return BEST
    estimate = 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6
    return max(WORST, estimate)  # the cubic dips below 1 for R under 6.5


def _equipment_impairment(codec: str, loss: float) -> float:
    """Ie,eff (G.107 §7.5), losses at random."""
    impairment = CODECS.get(codec.upper(), WITH_CONCEALMENT)
    percent = 100 * min(max(loss, 0.0), 1.0)
    return impairment.ie + (95 - impairment.ie) * percent / (percent + impairment.bpl)


def _delay_impairment(delay: float) -> float:
    """Idd (G.107 §7.4): nothing up to 100 ms."""
    if delay <= 0.1:
        return 0.0
    x = math.log2(delay / 0.1)
    return 25.0 * (math.pow(1 + math.pow(x, 6), 1 / 6) - 3 * math.pow(1 + math.pow(x / 3, 6), 1 / 6) + 2)

"""From the codec of one side to that of the other, a frame at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from gateway.media import g711
from gateway.media.codecs import LINEAR, PCMA, PCMU, AudioCodec

FrameConverter = Callable[[bytes], bytes]
"""Takes the bytes of one 20 ms frame in one codec, gives them in another."""


def converter(source: AudioCodec, target: AudioCodec) -> FrameConverter:
    """Make a converter for one direction of one call.

    The same codec on both sides costs nothing, the two laws of G.711 one table, everything else a decoder,
    perhaps a resampler, and an encoder.
    """
    if source is target:
        return _unchanged
    if {source, target} == {PCMU, PCMA}:
        table = _law_table(source.name, target.name)
        return lambda frame: frame.translate(table)
    rate = target.sample_rate
    decode, encode = source.decoder(rate).decode, target.encoder(rate).encode
    if target is LINEAR.get(rate):
        return decode
    return lambda frame: encode(decode(frame))


def _unchanged(frame: bytes) -> bytes:
    return frame


@cache
def _law_table(source: str, target: str) -> bytes:
    """Of each code of one law the nearest of the other."""
    return g711.CODECS[target].encode(g711.CODECS[source].decode(bytes(range(256))))

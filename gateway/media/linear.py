"""Linear audio as a codec: L16 in network byte order (RFC 3551 §4.5.11), and our own PCM16 as it is."""

from __future__ import annotations

from array import array


class NetworkOrder:
    """PCM16 little-endian to big-endian and back."""

    __slots__ = ()

    def encode(self, pcm: bytes) -> bytes:
        """Swap the bytes of each sample; an odd last byte is left out."""
        samples = array("h", pcm if len(pcm) % 2 == 0 else pcm[:-1])
        samples.byteswap()
        return samples.tobytes()

    decode = encode


class Untouched:
    """PCM16 little-endian, which is what our own code works on."""

    __slots__ = ()

    def encode(self, pcm: bytes) -> bytes:
        """Give back what came."""
        return pcm

    decode = encode

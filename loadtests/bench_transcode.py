"""How much CPU transcoding costs on top of relaying: one packet of 20 ms from one codec to another.

    python loadtests/bench_transcode.py [--seconds 20]

Each row is both directions of one call between two codecs, without sockets: add what `bench_relay.py`
    measures. The
best of three runs counts: the others tell of the machine.
"""

from __future__ import annotations

import argparse
import time
from itertools import count

from gateway.media.codecs import G722, L16_8000, L16_16000, OPUS, PCMA, PCMU, AudioCodec, available
from gateway.media.rtp import pack
from gateway.media.stream_transcoder import SpokenForm, StreamTranscoder
from gateway.media.tones import tone

PAIRS = (
    (PCMU, PCMA),
    (PCMU, L16_8000),
    (PCMU, L16_16000),
    (PCMU, G722),
    (G722, L16_16000),
    (PCMU, OPUS),
)
RUNS = 3
PACKETS_A_SECOND = 50


def microseconds(source: AudioCodec, target: AudioCodec, seconds: float) -> float:
    """CPU of one packet."""
    best = float("inf")
    frames = source.frames(tone((440.0, 1000.0), seconds, -12.0))
    for _ in range(RUNS):
        out: list[bytes] = []
        now = count(0.0, 0.02)  # looked at once a packet
        transcoder = StreamTranscoder({0: source}, {}, SpokenForm(target, 96), out.append, clock=now.__next__)
        packets = [pack(0, n & 0xFFFF, n * source.frame_units, 1, frame) for n, frame in enumerate(frames)]
        begun = time.process_time()
        for packet in packets:
            transcoder.receive(packet)
        best = min(best, (time.process_time() - begun) / len(packets) * 1e6)
        assert len(out) == len(packets)
    return best


def name(codec: AudioCodec) -> str:
    return codec.name if codec.name != "L16" else f"L16/{codec.clock_rate}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    print("between                there µs   back µs   CPU %/call")
    for one, other in PAIRS:
        if {one, other} <= set(available()):
            there = microseconds(one, other, options.seconds)
            back = microseconds(other, one, options.seconds)
            share = (there + back) * PACKETS_A_SECOND / 1e6 * 100
            print(f"{name(one):>9} and {name(other):9} {there:8.1f} {back:9.1f} {share:12.2f}", flush=True)


if __name__ == "__main__":
    main()

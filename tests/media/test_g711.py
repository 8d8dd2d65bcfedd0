from __future__ import annotations

import struct
import warnings
from array import array
from math import sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.g711 import CODECS, LOUDNESS, LOUDNESS_STEP, PCMA, PCMU, Codec
from gateway.media.tones import amplitude
from gateway.media.voice_activity import mean_magnitude

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # gone in 3.13; here it is the oracle
    import audioop

ALL_CODES = bytes(range(256))
ALL_SAMPLES = struct.pack("<65536h", *range(-32768, 32768))
EXACT = {"PCMU": audioop.ulaw2lin, "PCMA": audioop.alaw2lin}
ENCODE = {"PCMU": audioop.lin2ulaw, "PCMA": audioop.lin2alaw}


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_every_code_decodes_to_its_value(codec: Codec) -> None:
    assert codec.decode(ALL_CODES) == EXACT[codec.name](ALL_CODES, 2)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_every_sample_is_encoded_within_one_step_of_the_oracle(codec: Codec) -> None:
    ladder = sorted(range(256), key=lambda code: struct.unpack_from("<h", codec.decode(ALL_CODES), 2 * code))
    rung = {code: number for number, code in enumerate(ladder)}
    pairs = zip(codec.encode(ALL_SAMPLES), ENCODE[codec.name](ALL_SAMPLES, 2), strict=True)
    assert max(abs(rung[ours] - rung[theirs]) for ours, theirs in pairs) <= 1


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_no_other_code_is_nearer(codec: Codec) -> None:
    values = struct.unpack("<256h", codec.decode(ALL_CODES))
    chosen = codec.encode(ALL_SAMPLES)
    for sample in range(-32768, 32768, 37):
        best = min(abs(value - sample) for value in values)
        assert abs(values[chosen[sample + 32768]] - sample) == best


def test_polarity() -> None:
    """A positive sample has the sign bit set in A-law, and in (inverted) µ-law too."""
    loud, quiet = struct.pack("<h", 20000), struct.pack("<h", -20000)
    for codec in (PCMU, PCMA):
        assert codec.encode(loud)[0] & 0x80
        assert not codec.encode(quiet)[0] & 0x80
        assert struct.unpack("<h", codec.decode(codec.encode(loud)))[0] > 19000


def test_silence_is_the_code_of_zero() -> None:
    assert PCMU.silence == b"\xff"
    assert PCMA.silence == b"\xd5"
    assert PCMU.encode(bytes(4)) == b"\xff\xff"
    assert PCMU.decode(b"\xff") == b"\0\0"


@given(st.sampled_from([PCMU, PCMA]), st.binary(max_size=400))
def test_decoding_and_encoding_again_keeps_the_sound(codec: Codec, payload: bytes) -> None:
    pcm = codec.decode(payload)
    assert codec.decode(codec.encode(pcm)) == pcm  # µ-law has two codes for zero, so the bytes may differ


@given(st.binary(max_size=400))
def test_an_odd_byte_is_left_out(pcm: bytes) -> None:
    assert len(PCMU.encode(pcm)) == len(pcm) // 2


def test_frames_are_filled_up_with_silence() -> None:
    frames = PCMA.frames(b"\1\2" * 200)
    assert [len(frame) for frame in frames] == [160, 160]
    assert frames[1][40:] == b"\xd5" * 120
    assert PCMU.frames(b"") == []


def test_how_loud_a_frame_is_shows_without_decoding_it() -> None:
    for name, codec in CODECS.items():
        for level in (-45.0, -42.0, -35.0, -25.0):
            pcm = array("h", (round(amplitude(level) * sin(at / 3)) for at in range(160)))
            frame = codec.encode(pcm.tobytes())
            by_table = sum(frame.translate(LOUDNESS[name])) * LOUDNESS_STEP / len(frame)
            decoded = mean_magnitude(codec.decode(frame))
            assert by_table == pytest.approx(decoded, abs=LOUDNESS_STEP / 2)

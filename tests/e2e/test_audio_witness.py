"""The measurements themselves, checked against the standard library's G.711 and against each other."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.e2e import audio

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    audioop = pytest.importorskip("audioop")


@pytest.mark.parametrize(("codec", "oracle"), [("PCMU", audioop.ulaw2lin), ("PCMA", audioop.alaw2lin)])
def test_decoding_agrees_with_the_standard_library(codec, oracle):
    octets = bytes(range(256))
    expected = np.frombuffer(oracle(octets, 2), dtype=np.int16)
    assert np.array_equal(audio.decode(octets, codec), expected)


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_encoding_undoes_decoding(codec):
    levels = audio.decode(bytes(range(256)), codec)
    assert np.array_equal(audio.decode(audio.encode(levels, codec), codec), levels)


def test_a_tone_is_found_and_its_neighbour_is_not():
    signal = audio.decode(audio.encode(audio.tone(700, 0.5)))
    assert audio.tone_share(signal, 700) > 0.95
    assert audio.tone_share(signal, 740) < 0.01
    assert audio.loudest_tone(signal, [600, 650, 700, 750]) == 700


def test_a_passage_is_found_where_it_was_put():
    rng = np.random.default_rng(7)
    passage = (rng.normal(0, 3000, 4000)).astype(np.int16)
    heard = np.concatenate([audio.silence(0.2), audio.decode(audio.encode(passage)), audio.silence(0.3)])
    score, offset = audio.heard(heard, passage)
    assert score > 0.98
    assert offset == 1600
    assert audio.heard(heard, (rng.normal(0, 3000, 4000)).astype(np.int16))[0] < 0.2

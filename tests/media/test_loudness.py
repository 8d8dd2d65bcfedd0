from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.codecs import LINEAR, PCMA, PCMU
from gateway.media.g711 import CODECS
from gateway.media.loudness import WIDEST, byte_sum, magnitude_of
from gateway.media.voice_activity import VoiceActivity, mean_magnitude


@given(st.binary(max_size=2 * WIDEST))
def test_the_sum_of_bytes_is_their_sum(data: bytes) -> None:
    assert byte_sum(data) == sum(data)


@pytest.mark.parametrize("size", [0, 1, 160, WIDEST - 1, WIDEST, WIDEST + 1])
def test_also_of_the_greatest_bytes(size: int) -> None:
    assert byte_sum(b"\xff" * size) == 255 * size


@pytest.mark.parametrize("form", [PCMU, PCMA])
@given(frame=st.one_of(st.binary(max_size=400), st.integers(0, 255).map(lambda code: bytes([code]) * 160)))
def test_a_law_frame_is_as_loud_as_when_it_is_decoded(form: object, frame: bytes) -> None:
    assert form in (PCMU, PCMA)
    law = PCMU if form is PCMU else PCMA
    assert magnitude_of(law)(frame) == mean_magnitude(CODECS[law.name].decode(frame))


def test_of_pcm_it_is_what_it_was() -> None:
    assert magnitude_of(LINEAR[8000]) is mean_magnitude


@given(st.lists(st.binary(min_size=160, max_size=160), max_size=40))
def test_voice_is_heard_in_a_law_as_in_pcm(frames: list[bytes]) -> None:
    law, pcm = VoiceActivity(0.0, magnitude_of(PCMU)), VoiceActivity(0.0)
    for number, frame in enumerate(frames):
        law.hear(frame, number * 0.02)
        pcm.hear(CODECS["PCMU"].decode(frame), number * 0.02)
        assert law.silence(1.0) == pcm.silence(1.0)
        assert law.voiced_seconds == pcm.voiced_seconds

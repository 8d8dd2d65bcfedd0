from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.codecs import G722, LINEAR, PCMA, PCMU, AudioCodec
from gateway.media.inband_dtmf import COLUMNS, KEYS, ROWS, InbandDtmf
from gateway.media.tone_gate import ToneListener
from gateway.media.tones import silence, tone
from gateway.speech.espeak import EspeakEngine

ALL = "123A456B789C*0#D"
SPOKEN = (
    "Good morning, this is Miss Tremayne from the Zurich savings bank; my number is four one five, five five five, "
    "zero one double three. I am calling about the meeting we agreed upon: could you please ring me back before "
    "eleven, or leave word with my colleague Lucinda? She sells sea shells by the sea shore. Eeny, meeny, miny, moe. "
    "Press one for sales, two for support, star or pound to return. Who knew? We owe you all our yellow yo-yos."
)


def pair(key: str, off: float = 0.0) -> tuple[float, float]:
    row = next(at for at, keys in enumerate(KEYS) if key in keys)
    return ROWS[row] * (1 + off), COLUMNS[KEYS[row].index(key)] * (1 + off)


def press(key: str, seconds: float = 0.06, dbm0: float = -10, off: float = 0.0) -> bytes:
    return tone(pair(key, off), seconds, dbm0)


def uneven(key: str, low: float, high: float) -> bytes:
    """The two tones at levels of their own (dBm0)."""
    one, two = (tone((hertz,), 0.06, dbm0) for hertz, dbm0 in zip(pair(key), (low, high), strict=True))
    return (np.frombuffer(one, "<i2") + np.frombuffer(two, "<i2")).astype("<i2").tobytes()


def keys_in(pcm: bytes, form: AudioCodec = PCMU, noise: float = 0.0) -> str:
    """What is found in frames of that form; noise: its root mean square."""
    if noise:
        added = np.random.default_rng(1).standard_normal(len(pcm) // 2) * noise
        pcm = np.clip(np.frombuffer(pcm, "<i2") + added, -32768, 32767).astype("<i2").tobytes()
    found: list[str] = []
    listener = ToneListener(form, found.append)
    for frame in form.frames(pcm):
        listener.hear(frame)
    return "".join(found)


FORMS = {
    "PCMU": PCMU,
    "PCMA": PCMA,
    "8": LINEAR[8000],
    "16": LINEAR[16000],
    "24": LINEAR[24000],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("seconds", [0.04, 0.05, 0.1, 0.5])
@pytest.mark.parametrize("shift", [0, 0.003, 0.007, 0.011, 0.016])
def test_every_key_is_found_once(form: AudioCodec, seconds: float, shift: float) -> None:
    pcm = silence(shift) + b"".join(press(key, seconds) + silence(0.045) for key in ALL)
    assert keys_in(pcm, form) == ALL


def test_keys_are_found_after_a_codec_that_adapts() -> None:
    assert keys_in(b"".join(press(key, 0.08) + silence(0.05) for key in ALL), G722) == ALL


@pytest.mark.parametrize("off", [0.015, -0.015])
@pytest.mark.parametrize("dbm0", [-6, -25])
def test_tones_may_be_off_by_as_much_as_q24_says(off: float, dbm0: float) -> None:
    assert keys_in(b"".join(press(key, 0.06, dbm0, off) + silence(0.05) for key in ALL)) == ALL


@pytest.mark.parametrize("off", [0.035, -0.035])
def test_tones_further_off_are_none(off: float) -> None:
    assert keys_in(b"".join(press(key, 0.1, -10, off) + silence(0.05) for key in ALL)) == ""


@pytest.mark.parametrize(
    ("low", "high", "found"), [(-8, -15, ALL), (-15, -8, ALL), (-6, -18, ""), (-18, -6, "")]
)
def test_the_two_tones_may_differ_by_eight_decibels(low: float, high: float, found: str) -> None:
    assert keys_in(b"".join(uneven(key, low, high) + silence(0.05) for key in ALL)) == found


def test_a_short_interruption_belongs_to_the_press_and_a_pause_does_not() -> None:
    assert keys_in(press("5") + silence(0.008) + press("5")) == "5"
    assert keys_in(press("5") + silence(0.045) + press("5")) == "55"


def test_short_tones_and_single_tones_and_quiet_ones_are_no_keys() -> None:
    assert keys_in(press("5", 0.02)) == ""
    assert keys_in(tone((770.0,), 0.3, -10) + tone((1336.0,), 0.3, -10)) == ""
    assert keys_in(press("5", 0.1, -40)) == ""
    assert keys_in(tone((440.0, 480.0), 2.0, -19) + tone((350.0, 440.0), 2.0, -13)) == ""


def test_noise_on_the_line_hides_no_key() -> None:
    pcm = b"".join(press(key, 0.08, -12) + silence(0.05) for key in ALL)
    assert keys_in(pcm, noise=350) == ALL  # 17 dB below


@pytest.mark.parametrize("speed", [130, 180])
@pytest.mark.parametrize("gain", [0.5, 1.0])
@pytest.mark.parametrize("gated", [True, False])
async def test_speech_presses_no_keys(speed: int, gain: float, gated: bool) -> None:
    pcm = await EspeakEngine(words_per_minute=speed).render(SPOKEN)
    assert len(pcm) > 8 * 16000
    louder = (np.frombuffer(pcm, "<i2") * gain).astype("<i2").tobytes()
    # G.722 passes every frame to the detector itself
    assert keys_in(louder, PCMU if gated else G722) == ""


async def test_a_key_pressed_into_a_pause_of_speech_is_found() -> None:
    pcm = await EspeakEngine().render("Press five now.")
    assert keys_in(pcm + silence(0.1) + press("5", 0.1) + silence(0.1) + pcm) == "5"


@given(st.lists(st.binary(min_size=160, max_size=160), max_size=6))
def test_any_audio_is_heard_without_a_fault(frames: list[bytes]) -> None:
    detector = InbandDtmf(lambda key: None)
    for frame in frames:
        detector.hear(PCMU.decoder(8000).decode(frame))

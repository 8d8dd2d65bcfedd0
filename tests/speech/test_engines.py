"""The real engines. eSpeak NG is always there; flite where it is installed."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gateway.speech.engine import ENGINES, make_engine
from gateway.speech.errors import SpeechError, UnspeakableTextError
from gateway.speech.espeak import EspeakEngine
from gateway.speech.flite import FliteEngine
from gateway.speech.text import MAX_CHARACTERS

SENTENCE = "Nobody can take your call right now. Please leave a message!"
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


def loudness(pcm: bytes) -> float:
    return float(np.sqrt(np.mean(np.square(np.frombuffer(pcm, "<i2").astype(float)))))


@pytest.mark.parametrize("name", ["espeak", pytest.param("flite", marks=needs_flite)])
async def test_a_sentence_is_spoken(name: str) -> None:
    engine = make_engine(name)
    pcm = await engine.render(SENTENCE)
    assert 2 < len(pcm) / 16000 < 10
    assert loudness(pcm) > 500
    longer = await engine.render(SENTENCE * 3)
    assert len(longer) > 2 * len(pcm)
    await engine.close()


@pytest.mark.parametrize("name", ["espeak", pytest.param("flite", marks=needs_flite)])
async def test_the_same_text_sounds_the_same_always(name: str) -> None:
    engine = make_engine(name)
    first = await engine.render(SENTENCE)
    await engine.render("Something else in between.")
    assert await engine.render(SENTENCE) == first


def test_also_in_another_process() -> None:
    program = (
        "import asyncio, hashlib; from gateway.speech.engine import make_engine;"
        f"print(hashlib.sha256(asyncio.run(make_engine('espeak').render({SENTENCE!r}))).hexdigest())"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    ours = asyncio.run(make_engine("espeak").render(SENTENCE))
    assert told.stdout.strip() == hashlib.sha256(ours).hexdigest()


@pytest.mark.parametrize("name", ["espeak", pytest.param("flite", marks=needs_flite)])
@pytest.mark.parametrize(
    "text",
    [
        "-o /tmp/never.wav",
        "<speak>hi</speak>",
        "[[n'oUb0di]]",
        "a\0b",
        "héllo wörld 你好",
        "%s %n %x",
        "hi " * 5000,
    ],
)
async def test_odd_texts_are_only_spoken(name: str, text: str) -> None:
    pcm = await make_engine(name).render(text)
    assert len(pcm) > 1600
    assert len(pcm) / 16000 < MAX_CHARACTERS / 4


@pytest.mark.parametrize("name", ["espeak", "flite"])
async def test_nothing_to_speak_is_the_texts_fault(name: str) -> None:
    with pytest.raises(UnspeakableTextError):
        await make_engine(name).render(" \n ")


async def test_many_at_once_do_not_disturb_each_other() -> None:
    """The library has one global state; two voices at once must each get their own."""
    texts = [f"Message number {number}." for number in range(8)]
    english, german = EspeakEngine("en-us"), EspeakEngine("de", words_per_minute=200)
    alone = [await engine.render(text) for text in texts for engine in (english, german)]
    together = await asyncio.gather(*(engine.render(text) for text in texts for engine in (english, german)))
    assert together == alone
    assert len(set(together)) == len(together)


async def test_the_rate_is_obeyed() -> None:
    slow = await EspeakEngine(words_per_minute=100).render(SENTENCE)
    fast = await EspeakEngine(words_per_minute=250).render(SENTENCE)
    assert len(slow) > 1.5 * len(fast)


async def test_a_voice_that_does_not_exist_is_named() -> None:
    with pytest.raises(SpeechError, match=r"'xx-none'.*speech\.voice"):
        await make_engine("espeak", voice="xx-none").render("hello")
    with pytest.raises(SpeechError, match=r"speech\.voice = 'http://x/voice'"):
        make_engine("flite", voice="http://x/voice")
    assert len(await make_engine("espeak").render("hello")) > 1600  # and the library is none the worse


@pytest.mark.parametrize(("name", "voice"), [("espeak", "de"), ("flite", "kal")])
def test_identity_tells_voices_apart(name: str, voice: str) -> None:
    identities = {make_engine(name).identity, make_engine(name, voice=voice).identity}
    assert len(identities) == 2
    assert make_engine("espeak").identity != make_engine("espeak", words_per_minute=99).identity


def test_an_unknown_engine_is_named_with_those_that_are_known() -> None:
    with pytest.raises(SpeechError, match=r"speech\.engine = 'festival' is none of espeak, flite, http"):
        make_engine("festival")
    with pytest.raises(SpeechError, match=r"speech\.url"):
        make_engine("http")
    assert set(ENGINES) == {"espeak", "flite", "http"}


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def test_flite_missing_failing_hanging_or_mute(tmp_path: Path) -> None:
    cases = {
        "not installed": str(tmp_path / "nowhere"),
        "failed": script(tmp_path / "fails", "exit 3"),
        r"longer than 0\.2 s": script(tmp_path / "hangs", "exec sleep 60"),
        r"failed \(FileNotFoundError\)|not installed": script(tmp_path / "mute", "exit 0"),
    }
    for complaint, binary in cases.items():
        with pytest.raises(SpeechError, match=complaint):
            await FliteEngine(binary=binary, timeout=0.2).render("hello")


async def test_the_text_is_not_among_flites_arguments(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    binary = script(tmp_path / "flite", f'echo "$@" > {seen}; exit 1')
    with pytest.raises(SpeechError):
        await FliteEngine(binary=binary).render("personal words")
    assert "personal" not in seen.read_text()

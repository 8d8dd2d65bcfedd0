"""A call on disk: left what the caller said, right what the caller heard."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import wave
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

from gateway.media.codecs import G722, L16_16000, PCMA, PCMU, AudioCodec
from gateway.media.rtp import pack
from gateway.media.stereo_recorder import Side, StereoRecorder

FRAME = 0.02


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def played(path: Path) -> tuple[np.ndarray[Any, Any], int]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        return samples, file.getframerate()


def numbered(side: Side, payload_type: int) -> AudioCodec | None:
    return {96: L16_16000}.get(payload_type)


def click(at: int) -> bytes:
    """20 ms in which one sample is loud."""
    samples = np.zeros(160, "<i2")
    samples[at] = 20_000
    return samples.tobytes()


async def recorded(
    tmp_path: Path, clock: Clock, talk: Callable[[StereoRecorder], Awaitable[None]], **options: Any
) -> tuple[np.ndarray[Any, Any], int]:
    recorder = StereoRecorder(tmp_path / "call.wav", numbered, clock=clock, max_seconds=7200, **options)
    await talk(recorder)
    recording = await recorder.close()
    assert recording.error is None
    return await asyncio.to_thread(played, recording.path)


async def test_each_side_has_its_channel_in_one_time(tmp_path: Path) -> None:
    clock = Clock()

    async def talk(recorder: StereoRecorder) -> None:
        for number in range(100):
            clock.now = 1000.0 + number * FRAME
            recorder.hear("caller", pack(0, number, 160 * number, 1, PCMU.encoder(8000).encode(click(5))))
            if number >= 50:
                recorder.hear("agent", pack(8, number, 160 * number, 2, PCMA.encoder(8000).encode(click(5))))
            recorder._beat()
        clock.now += FRAME

    samples, rate = await recorded(tmp_path, clock, talk)
    assert rate == 8000
    assert len(samples) == 16_000
    left, right = (np.flatnonzero(samples[:, channel] > 10_000) for channel in (0, 1))
    assert list(left) == [160 * number + 5 for number in range(100)]
    assert list(right) == [160 * number + 5 for number in range(50, 100)]


async def test_lost_late_and_disordered_packets(tmp_path: Path) -> None:
    clock = Clock()
    order = [0, 1, 3, 2, 6, 5, 8, 9]  # 4 and 7 are lost

    async def talk(recorder: StereoRecorder) -> None:
        for index, number in enumerate(order):
            clock.now = 1000.0 + index * FRAME
            recorder.hear("caller", pack(0, number, 160 * number, 1, PCMU.encoder(8000).encode(click(5))))
        clock.now = 1000.0 + 0.2

    samples, _ = await recorded(tmp_path, clock, talk)
    assert list(np.flatnonzero(samples[:, 0] > 10_000)) == [160 * number + 5 for number in sorted(order)]
    assert not samples[:, 1].any()


async def test_two_clocks_that_drift_apart_stay_together(tmp_path: Path) -> None:
    """Both sides click in the same instant, each timed by a clock of its own, with jitter.

    Three minutes in which they drift apart by as much as clocks 200 ppm apart do in an hour (`test_timeline`
    has the hour).
    """
    drift, packets = 2000e-6, 9000
    clock, rng = Clock(), random.Random(3)
    frames = {side: PCMU.encoder(8000).encode(click(5)) for side in ("caller", "agent")}
    quiet = PCMU.silence

    async def talk(recorder: StereoRecorder) -> None:
        events: list[tuple[float, Side, int]] = []
        for side, fast in (("caller", drift), ("agent", -drift)):
            for number in range(packets):
                spoken = number * FRAME * (1 + fast)
                events.append((spoken + rng.random() * 0.03, side, number))  # type: ignore[arg-type]
        beat = 0.5
        for arrived, side, number in sorted(events):
            clock.now = 1000.0 + arrived
            if arrived >= beat:
                recorder._beat()
                recorder._timer.cancel()
                recorder._recorder.write(b"")
                beat += 0.5
                if round(beat * 2) % 16 == 0:  # the disk is visited
                    while recorder._recorder._job is not None:  # noqa: ASYNC110
                        await asyncio.sleep(0.001)
            loud = side == "caller" and number % 50 == 0
            payload = frames[side] if loud else quiet
            if side == "agent":
                # what the agent's clock calls the moment in which the caller's packet was spoken
                of_caller = round(number * (1 - drift) / (1 + drift))
                payload = frames[side] if of_caller % 50 == 0 else quiet
            recorder.hear(side, pack(0, number & 0xFFFF, 160 * number, 1 if side == "caller" else 2, payload))
        recorder._timer = asyncio.get_running_loop().call_later(60, lambda: None)

    samples, _ = await recorded(tmp_path, clock, talk)
    assert abs(len(samples) / 8000 - 180) < 2
    left, right = (np.flatnonzero(samples[:, channel] > 10_000) for channel in (0, 1))
    right_near = right[np.clip(np.searchsorted(right, left), 1, len(right) - 1)]
    right_before = right[np.clip(np.searchsorted(right, left) - 1, 0, len(right) - 1)]
    apart = np.minimum(abs(left - right_near), abs(left - right_before))[1:-1]
    assert len(left) == 180
    # 20 ms, and up to half a packet because clicks of the two clocks fall into neighbouring packets
    assert apart.max() <= 160 + 80


async def test_wideband_is_recorded_wideband(tmp_path: Path) -> None:
    clock = Clock()
    tone = (np.sin(np.arange(320 * 50) * 2 * np.pi * 5000 / 16_000) * 10_000).astype("<i2").tobytes()

    async def talk(recorder: StereoRecorder) -> None:
        encoders = {"caller": G722.encoder(16_000), "agent": L16_16000.encoder(16_000)}
        for number in range(50):
            clock.now = 1000.0 + number * FRAME
            frame = tone[640 * number : 640 * (number + 1)]
            recorder.hear("caller", pack(9, number, 160 * number, 1, encoders["caller"].encode(frame)))
            recorder.hear("agent", pack(96, number, 320 * number, 2, encoders["agent"].encode(frame)))
        clock.now += FRAME

    samples, rate = await recorded(tmp_path, clock, talk, rate=16_000)
    assert rate == 16_000
    for channel in (0, 1):
        spectrum = abs(np.fft.rfft(samples[1600:, channel]))
        assert abs(np.argmax(spectrum) * rate / (len(samples) - 1600) - 5000) < 20


async def test_what_is_no_audio_is_silence(tmp_path: Path) -> None:
    clock = Clock()

    async def talk(recorder: StereoRecorder) -> None:
        recorder.hear("caller", b"")
        recorder.hear("caller", b"\x80" * 11)
        recorder.hear("caller", pack(101, 1, 160, 1, b"\1\2\3\4"))
        recorder.hear("agent", pack(13, 1, 160, 1, b"\1"))
        clock.now += 0.1

    samples, _ = await recorded(tmp_path, clock, talk)
    assert len(samples) == 800
    assert not samples.any()


async def test_many_sources_do_not_grow_the_memory(tmp_path: Path) -> None:
    clock = Clock()

    async def talk(recorder: StereoRecorder) -> None:
        for number in range(1000):
            recorder.hear("caller", pack(9, number, number * 7777, number, bytes(160)))
            recorder.hear("agent", pack(number % 128, number, number, 5, bytes(160)))
        assert len(recorder._decoders) <= 16

    await recorded(tmp_path, clock, talk)


async def test_a_disk_that_fails_is_told_once_and_hurts_nobody(tmp_path: Path) -> None:
    clock, errors = Clock(), list[OSError]()
    (tmp_path / "file").write_text("not a directory")
    recorder = StereoRecorder(
        tmp_path / "file" / "call.wav", numbered, clock=clock, max_seconds=60, on_error=errors.append
    )
    for number in range(200):
        clock.now += FRAME
        recorder.hear("caller", pack(0, number, 160 * number, 1, bytes(160)))
        recorder._beat()
        recorder._timer.cancel()
        await asyncio.sleep(0.001)
    recording = await recorder.close()
    assert len(errors) == 1
    assert recording.error is errors[0]


KILLED = """
import asyncio, pathlib, sys, time
from gateway.media.rtp import pack
from gateway.media.stereo_recorder import StereoRecorder

async def record():
    recorder = StereoRecorder(pathlib.Path(sys.argv[1]), lambda side, number: None, clock=time.monotonic, max_seconds=60)
    began = time.monotonic()
    number = 0
    while True:
        while number * 0.02 <= time.monotonic() - began:
            for side in ("caller", "agent"):
                recorder.hear(side, pack(0, number & 0xFFFF, 160 * number, 1, bytes([0x20]) * 160))
            number += 1
        if number == 100:
            print("recording", flush=True)
        await asyncio.sleep(0.01)

asyncio.run(record())
"""


def test_what_a_killed_process_leaves_can_be_played(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "recording\n"
        os.kill(process.pid, signal.SIGKILL)
    samples, rate = played(path)
    assert rate == 8000
    assert len(samples) >= 4000  # of two seconds: all but what was held back and not yet due
    assert (np.count_nonzero(samples, axis=0) > 0.9 * len(samples)).all()

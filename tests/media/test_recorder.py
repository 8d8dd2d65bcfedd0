from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.codecs import G722, PCMU
from gateway.media.disk import Disk
from gateway.media.recorder import FLUSH_SECONDS, MAX_WAITING_SECONDS, Recorder
from gateway.media.wav_file import HEADER_BYTES, WavFile, wav_header

BYTES_PER_SECOND = 16_000
FLUSH_BYTES = round(FLUSH_SECONDS * BYTES_PER_SECOND)
MAX_WAITING = MAX_WAITING_SECONDS * BYTES_PER_SECOND
SECOND = bytes(range(200)) * 80
FRAME = b"\1\2" * 160


def played(path: Path) -> bytes:
    """The samples that any player would find, judged by the standard library."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        return file.readframes(file.getnframes())


def begun(path: Path) -> bool:
    return path.exists() and path.stat().st_size > HEADER_BYTES


@given(st.lists(st.binary(max_size=50).map(lambda data: data * 2), max_size=5))
def test_the_file_is_valid_after_every_append(chunks: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "made", "for it.wav")
        file = WavFile(path)
        assert played(path) == b""
        for index, chunk in enumerate(chunks):
            file.append(chunk)
            assert played(path) == b"".join(chunks[: index + 1])
        file.close()
        assert played(path) == b"".join(chunks)


def test_a_cut_between_samples_and_header_loses_only_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    file = WavFile(path)
    file.append(SECOND)
    file._write(HEADER_BYTES + len(SECOND), SECOND)  # and here the process dies
    assert played(path) == SECOND
    file.close()


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        WavFile(path)
    assert path.read_bytes() == b"precious"


def test_the_header_says_its_own_length() -> None:
    assert len(wav_header(0)) == HEADER_BYTES


async def test_what_is_written_is_in_the_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "new" / "call.wav", max_seconds=60)
    for _ in range(130):
        recorder.write(FRAME)
    recording = await recorder.close()
    assert played(recording.path) == FRAME * 130
    assert recording.seconds == pytest.approx(2.6)
    assert recording.error is None
    recorder.write(FRAME)
    assert await recorder.close() == recording


async def test_nothing_said_is_an_empty_recording(tmp_path: Path) -> None:
    recording = await Recorder(tmp_path / "a.wav", max_seconds=60).close()
    assert played(recording.path) == b""
    assert recording.seconds == 0


async def test_it_reaches_the_disk_while_the_call_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    recorder = Recorder(path, max_seconds=60)
    recorder.write(bytes(FLUSH_BYTES))
    async with asyncio.timeout(5):
        while not await asyncio.to_thread(begun, path):  # noqa: ASYNC110 - it waits for the disk
            await asyncio.sleep(0.001)
    assert len(await asyncio.to_thread(played, path)) == FLUSH_BYTES
    await recorder.close()


async def test_the_limit_is_exact_and_reported_once(tmp_path: Path) -> None:
    full: list[bool] = []
    recorder = Recorder(tmp_path / "a.wav", max_seconds=1.01, on_full=lambda: full.append(True))
    for _ in range(100):
        recorder.write(FRAME)
    recording = await recorder.close()
    assert recording.seconds == pytest.approx(1.01)
    assert len(played(recording.path)) == 16160
    assert full == [True]


async def test_a_disk_that_cannot_be_written_is_reported_once_and_hurts_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    errors: list[OSError] = []
    recorder = Recorder(tmp_path / "file" / "a.wav", max_seconds=60, on_error=errors.append)
    for _ in range(100):
        recorder.write(FRAME)
        await asyncio.sleep(0)
    recording = await recorder.close()
    recorder.write(FRAME)
    assert len(errors) == 1
    assert isinstance(errors[0], FileExistsError)
    assert recording.error is errors[0]
    assert recording.seconds == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
async def test_a_full_disk_keeps_what_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[OSError] = []
    recorder = Recorder(tmp_path / "a.wav", max_seconds=60, on_error=errors.append)
    append = WavFile.append

    def fill_up(self: WavFile, pcm: bytes) -> None:
        if self.data_bytes:
            with Path("/dev/full").open("wb", buffering=0) as full:
                full.write(pcm)
        append(self, pcm)

    monkeypatch.setattr(WavFile, "append", fill_up)
    for _ in range(4):
        recorder.write(bytes(FLUSH_BYTES))
        while recorder._job is not None:  # noqa: ASYNC110 - it waits for the disk
            await asyncio.sleep(0.001)
    recording = await recorder.close()
    assert [error.errno for error in errors] == [28]  # ENOSPC
    assert len(played(recording.path)) == FLUSH_BYTES
    assert recording.error is errors[0]


async def test_a_disk_that_is_almost_full_is_left_alone(tmp_path: Path) -> None:
    errors: list[OSError] = []
    path = tmp_path / "a.wav"
    recorder = Recorder(path, max_seconds=60, min_free=1 << 60, on_error=errors.append)
    recorder.write(bytes(FLUSH_BYTES))
    recording = await recorder.close()
    assert [error.errno for error in errors] == [28]  # ENOSPC
    assert "are kept" in str(recording.error)
    assert not await asyncio.to_thread(path.exists)
    assert recorder.failed


async def test_a_disk_that_stalls_does_not_fill_the_memory(tmp_path: Path) -> None:
    errors: list[OSError] = []
    free = threading.Event()
    with ThreadPoolExecutor(1) as disk:
        disk.submit(free.wait)
        recorder = Recorder(tmp_path / "a.wav", max_seconds=600, on_error=errors.append, disk=Disk(disk))
        for _ in range(100 * BYTES_PER_SECOND // len(SECOND)):
            recorder.write(SECOND)
            assert len(recorder._waiting) <= MAX_WAITING
        assert len(errors) == 1
        assert "10 s" in str(errors[0])
        free.set()
        recording = await recorder.close()
    assert recording.error is errors[0]


async def test_a_law_is_decoded_where_it_is_written(tmp_path: Path) -> None:
    full: list[bool] = []
    recorder = Recorder(tmp_path / "a.wav", max_seconds=2.01, form=PCMU, on_full=lambda: full.append(True))
    said = bytes(range(160)) * 101
    for at in range(0, len(said), 160):
        recorder.write(said[at : at + 160])
    recording = await recorder.close()
    assert (recording.seconds, full) == (2.01, [True])
    assert played(recording.path) == PCMU.decoder(8000).decode(said[:16_080])


async def test_no_other_form_than_samples_is_recorded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="G722"):
        Recorder(tmp_path / "a.wav", max_seconds=1, form=G722)


async def test_both_who_close_at_once_get_the_same(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.wav", max_seconds=60)
    recorder.write(FRAME)
    first, second = await asyncio.gather(recorder.close(), recorder.close())
    assert first == second


KILLED = """
import asyncio, pathlib, sys
from gateway.media.recorder import Recorder

async def record():
    recorder = Recorder(pathlib.Path(sys.argv[1]), max_seconds=3600)
    for number in range(10**9):
        recorder.write(bytes([number % 128]) * 320)
        if number == 200:
            print("recording", flush=True)
        await asyncio.sleep(0.004)

asyncio.run(record())
"""


def test_what_a_killed_process_leaves_can_be_played(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "recording\n"
        os.kill(process.pid, signal.SIGKILL)
    frames = played(path)
    assert len(frames) >= 320 * 150  # all but what was waiting for the next flush
    assert frames == b"".join(bytes([number % 128]) * 320 for number in range(len(frames) // 320))

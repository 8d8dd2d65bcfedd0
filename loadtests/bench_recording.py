"""What recording costs, in CPU time: the share of a core that it takes beside everything else.

    python -m loadtests.bench_recording [--calls 500] [--seconds 20]

One process does what the gateway does with the frames and packets of so many calls, as fast as it can; its
own CPU time, that of the disk's thread included, is divided by the audio's. Other work on the machine changes
little about that.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from gateway.media.disk import Disk
from gateway.media.g711 import PCMU
from gateway.media.recorder import Recorder
from gateway.media.rtp import pack
from gateway.media.stereo_recorder import StereoRecorder
from loadtests.process_meter import resident_kib

FRAME = 0.02
PCM = PCMU.decode(bytes(range(160)))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def beat(recorder: StereoRecorder) -> None:
    """What its timer does; here time is not real."""
    recorder._timer.cancel()
    recorder._beat()


async def mono(directory: Path, calls: int, seconds: float) -> None:
    disk = Disk()
    recorders = [
        Recorder(directory / f"{number}.wav", max_seconds=3600, disk=disk) for number in range(calls)
    ]

    def frame(number: int) -> None:
        for recorder in recorders:
            recorder.write(PCM)

    await run(seconds, frame)
    await asyncio.gather(*[recorder.close() for recorder in recorders])


async def stereo(directory: Path, calls: int, seconds: float) -> None:
    disk, clock = Disk(), Clock()
    recorders = [
        StereoRecorder(directory / f"{number}.wav", lambda *_: None, clock=clock, max_seconds=3600, disk=disk)
        for number in range(calls)
    ]

    def frame(number: int) -> None:
        clock.now = number * FRAME
        packet = pack(0, number & 0xFFFF, number * 160, 1, bytes(range(160)))
        for index, recorder in enumerate(recorders):
            recorder.hear("caller", packet)
            recorder.hear("agent", packet)
            if (number + index) % 25 == 0:
                beat(recorder)

    await run(seconds, frame)
    await asyncio.gather(*[recorder.close() for recorder in recorders])


async def run(seconds: float, frame: Callable[[int], None]) -> None:
    for number in range(round(seconds / FRAME)):
        frame(number)
        await asyncio.sleep(0.004 if number % 5 == 0 else 0)  # the disk is visited


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU of recording.")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    print("| recorded | at once | CPU of a core | memory a call |")
    print("|---|---:|---:|---:|")
    for name, work in (("messages, mono", mono), ("whole calls, stereo", stereo)):
        with tempfile.TemporaryDirectory(prefix="bench-recording-") as directory:
            empty, began = resident_kib(_pid()), time.process_time()
            uvloop.run(work(Path(directory), options.calls, options.seconds))
            cpu = time.process_time() - began
            memory = (resident_kib(_pid()) - empty) / options.calls
        print(f"| {name} | {options.calls} | {100 * cpu / options.seconds:.1f} % | {memory:.0f} kB |")


def _pid() -> int:
    import os

    return os.getpid()


if __name__ == "__main__":
    main()

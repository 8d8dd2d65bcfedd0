"""Calls that are recorded, on one core: messages in the voicemail, or relayed calls in stereo.

    python -m loadtests.load_recording voicemail --calls 500 [--seconds 20]
    python -m loadtests.load_recording all --calls 150

Set-up and columns are those of `load_media.py`, whose callers and agents these are. "on disk" is the audio
that was found in the files afterwards. Numbers mean something when nobody else uses the machine and "own
late"
is small: 500 callers take the generator's core to two thirds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Final

from loadtests.load_media import FRAME, NUMBER, Generator, under_load

BARS: Final = {"voicemail": 500, "all": 150}

SETTLE: Final = 5.0
"""Seconds until every caller has heard message and tone, and is being recorded."""


LISTEN_EVERY: Final = 20
"""Packets sent between two looks at what came, also when the generator is late itself."""


class Callers(Generator):
    """They listen also when they are too late to wait."""

    def talk(self, seconds: float) -> None:
        speakers = [*self.callers, *self.agents]
        began = time.monotonic()
        for number in range(round(seconds / FRAME) * len(speakers)):
            due = began + number * FRAME / len(speakers)
            while (wait := due - time.monotonic()) > 0.0003:
                self._listen(wait)
            if number % LISTEN_EVERY == 0:
                self._listen(0)
            if self.counting:
                self.own_late = max(self.own_late, -wait)
            speakers[number % len(speakers)].speak()


def recorded(directory: Path) -> tuple[int, float]:
    """How many files there are, and the seconds of audio in them."""
    count, seconds = 0, 0.0
    for path in directory.rglob("*.wav"):
        with wave.open(str(path)) as file:
            count += 1
            seconds += file.getnframes() / file.getframerate()
    return count, seconds


def measure(kind: str, calls: int, seconds: float) -> bool:
    """One row; whether the bars are cleared."""
    generator = Callers("relay", 160)
    url = generator.url if kind == "all" else "sip:nobody@127.0.0.1:9"  # refuses; then it is left alone
    with tempfile.TemporaryDirectory(prefix="load-recording-") as name:
        directory = Path(name)
        numbers = directory / "numbers.toml"
        numbers.write_text(
            f'[[agents]]\nid = "agt_load"\nname = "Load"\nendpoints = [{{ url = "{url}" }}]\n'
            f'[[numbers]]\nphone_number = "{NUMBER}"\n[numbers.inbound_routing]\n'
            f'agent_id = "agt_load"\nrecording = "{kind}"\nvoicemail_message = "Hello."\n'
        )
        load = under_load(
            directory,
            numbers,
            generator,
            calls,
            seconds,
            farewell=2.0,
            voicemail={"silence_seconds": 3600.0, "max_seconds": 3600.0},
            recording={"min_free_bytes": 0},
        )
        count, on_disk = recorded(directory / "data" / "recordings")
    ends = [*generator.callers, *generator.agents]
    heard, late, lost = (sum(values) for values in zip(*(end.late() for end in ends), strict=True))
    share = late / max(heard, 1) * 100
    busy, memory = load.busy, load.memory
    print(
        f"| {kind} | {calls} | {busy:.1f} % | {busy / calls * 100:.1f} % | {share:.3f} % | {lost}"
        f" | {100 * (1 - heard / (len(ends) * seconds / FRAME)):.2f} %"
        f" | {count} files, {on_disk / calls:.1f} s a call"
        f" | {memory:.0f} kB | {generator.own_late * 1000:.1f} ms |",
        flush=True,
    )
    return share < 0.1 and memory < 150 and count == calls and on_disk / calls >= seconds


def main() -> int:
    parser = argparse.ArgumentParser(description="Recorded calls through a gateway on one core.")
    parser.add_argument("kind", choices=sorted(BARS))
    parser.add_argument("--calls", type=int, nargs="+")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    print(
        "| recorded | at once | CPU of a core | CPU a 100 calls | late > 5 ms | lost | not heard | on disk"
        " | memory a call | own late |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    results = [
        measure(options.kind, calls, options.seconds) for calls in options.calls or [BARS[options.kind]]
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())

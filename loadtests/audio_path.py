"""Audio through the whole gateway, both ways, for each protocol and codec: delay added and frames concealed.

    python loadtests/audio_path.py

In virtual time, so the machine does not matter: packets are lost and delayed by dice from a seed. "to the
agent" and "to the caller" are the gateway's own part, without the delay of the jitter buffer ("buffer"),
which is chosen; a frame waits for the session's beat, ten milliseconds on average.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.calls.audio_path import PAIRS, Found, measure
from tests.calls.rig import Rig
from tests.simulation import virtual_time

LOSSES = (0.0, 0.05, 0.2)
JITTER = 0.06


def run(codec: str, protocol: str, options: dict[str, str], loss: float) -> Found:
    """One call of its own."""

    async def scenario() -> Found:
        with tempfile.TemporaryDirectory() as directory:
            rig = Rig(Path(directory))
            await rig.start()
            found = await measure(rig, codec, protocol, options, loss=loss, jitter=JITTER if loss else 0.0)
            await rig.finish()
            return found

    result: list[Found] = []

    async def keep() -> None:
        result.append(await scenario())

    virtual_time.run(keep())
    return result[0]


def main() -> int:
    print("| caller | agent | loss, jitter | to the agent | to the caller | buffer | concealed | underruns |")
    print("|---|---|---|---:|---:|---:|---:|---:|")
    holes = 0
    for codec, protocol, options in PAIRS:
        agent = " ".join([protocol, options.get("encoding", "")]).strip()
        for loss in LOSSES:
            found = run(codec, protocol, options, loss)
            holes += found.underruns
            network = f"{loss:.0%}, {JITTER * 1000:.0f} ms" if loss else "none"
            print(
                f"| {codec} | {agent} | {network} | {found.towards:.0f} ms | {found.back:.0f} ms"
                f" | {found.buffer:.0f} ms | {found.concealed:.1%} | {found.underruns} |",
                flush=True,
            )
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main())

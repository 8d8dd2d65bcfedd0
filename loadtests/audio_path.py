"""Audio through the whole gateway, both ways, for each protocol and codec: delay added and frames concealed.

    python loadtests/audio_path.py              agents on a WebSocket
    python loadtests/audio_path.py relayed      agents over SIP that speak another codec than the caller

In virtual time, so the machine does not matter: packets are lost and delayed by dice from a seed. "to the
agent" and "to the caller" are the gateway's own part, without the delay of the jitter buffer ("buffer"),
which is chosen; a frame waits for the session's beat, ten milliseconds on average. A relay has no jitter
buffer: what it adds is waiting for packets that are out of order ("slowest"), what it loses is late for its
turn.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.calls.audio_path import PAIRS, Found, measure
from tests.calls.rig import Rig
from tests.calls.transcoded_path import PAIRS as CROSSED
from tests.calls.transcoded_path import Crossing, cross
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


def run_relayed(caller: str, agent: str, loss: float) -> tuple[Crossing, Crossing]:
    """One call of its own."""
    result: list[tuple[Crossing, Crossing]] = []

    async def scenario() -> None:
        with tempfile.TemporaryDirectory() as directory:
            rig = Rig(Path(directory))
            await rig.start()
            result.append(await cross(rig, caller, agent, loss=loss, jitter=JITTER if loss else 0.0))
            await rig.finish()

    virtual_time.run(scenario())
    return result[0]


def relayed() -> int:
    print("| caller | agent | loss, jitter | added | slowest | of what came, went on | bursts heard | off |")
    print("|---|---|---|---:|---:|---:|---:|---:|")
    missing = 0
    for caller, agent in CROSSED:
        for loss in LOSSES:
            ways = run_relayed(caller, agent, loss)
            missing += not loss and any(way.heard < 1 or way.passed < 1 for way in ways)
            network = f"{loss:.0%}, {JITTER * 1000:.0f} ms" if loss else "none"
            told = (
                f"{max(way.added for way in ways):.0f} ms | {max(way.slowest for way in ways):.0f} ms"
                f" | {min(way.passed for way in ways):.1%} | {min(way.heard for way in ways):.0%}"
                f" | {max(way.off for way in ways):.0f} ms"
            )
            print(f"| {caller} | {agent} | {network} | {told} |", flush=True)
    return 1 if missing else 0


def main() -> int:
    if sys.argv[1:] == ["relayed"]:
        return relayed()
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

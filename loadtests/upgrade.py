"""Upgrades under load: a new gateway takes over from the running one, again and again, and no call fails.

    .venv/bin/python loadtests/upgrade.py                             # 3 upgrades, 30 calls/s, 2 workers
    .venv/bin/python loadtests/upgrade.py --upgrades 5 --rate 60 --workers 1 --talk 8

Set-up, all on loopback of one machine: SIPp as a carrier that sends every call from one port, SIPp as the
agent (direct media), a gateway with its private Redis. While calls come, another gateway is started beside
it on the same configuration; when it has taken over, and the old one has ended by itself, the next one.

Exit code 1 when a call failed, or an old gateway did not end with status 0.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

from loadtests import sipp_load
from tests.e2e.exchange import Exchange
from tests.e2e.gateway_process import GatewayProcess
from tests.e2e.sipp import free_port

HOST = "127.0.0.1"
NUMBERS = 50
SETTLE_SECONDS = 3.0
"""Of load before the first upgrade, between two, and after the last one."""

LONGEST_SECONDS = 1800
"""Of load, if nobody ends it before."""


def main(options: argparse.Namespace) -> int:
    """Run it, and print what came of it as JSON."""
    with tempfile.TemporaryDirectory() as text, contextlib.ExitStack() as stack:
        directory = Path(text)
        agent = sipp_load.agent(directory)
        stack.callback(agent.stop)
        workers = {
            "count": options.workers,
            "takeover": True,
            "port": free_port(HOST),
            "tls_port": 19_000,
        }
        exchange = Exchange(
            directory,
            logs={"level": "info"},
            workers=workers,
            drain={"timeout": options.talk + 30.0},
            dispatch={
                "response_timeout": 10.0,
                "ring_timeout": 20.0,
            },  # starting takes all of a small machine
        )
        gateways = [exchange.gateway]
        stack.callback(lambda: gateways[-1].stop())
        numbers = [f"+1573969{number:04d}" for number in range(NUMBERS)]
        exchange.load([(number, agent.agent_uri) for number in numbers])
        listed = directory / "numbers.csv"
        listed.write_text("SEQUENTIAL\n" + "\n".join(numbers) + "\n")
        caller = sipp_load.caller(
            directory,
            exchange.gateway.sip,
            listed,
            rate=options.rate,
            calls=options.rate * LONGEST_SECONDS,
            talk_ms=round(options.talk * 1000),
        )
        time.sleep(SETTLE_SECONDS)
        upgrades = []
        for number in range(options.upgrades):
            upgrades.append(_upgrade(gateways, directory / f"version-{number + 2}", options.talk + 40.0))
            time.sleep(SETTLE_SECONDS)
        outcome = caller.stop(options.talk + 5.0)
        told = {
            "workers": options.workers,
            "calls": outcome.succeeded + outcome.failed,
            "failed": outcome.failed,
            "retransmissions": outcome.retransmissions,
            "rate": round(outcome.rate, 1),
            "upgrades": upgrades,
        }
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    return int(outcome.failed > 0 or any(each["status"] for each in upgrades))


def _upgrade(gateways: list[GatewayProcess], directory: Path, patience: float) -> dict[str, float]:
    """Start a gateway beside the last one, and wait until that one has ended."""
    old = gateways[-1]
    directory.mkdir()
    began = time.monotonic()
    gateways.append(old.successor(directory))
    taken_over = time.monotonic() - began
    status = old.exit_code(patience)
    return {
        "taken_over_after": round(taken_over, 2),
        "old_ended_after": round(time.monotonic() - began, 2),
        "status": status,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--upgrades", type=int, default=3)
    parser.add_argument("--rate", type=int, default=30, help="calls a second")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--talk", type=float, default=4.0, help="seconds of each call")
    raise SystemExit(main(parser.parse_args()))

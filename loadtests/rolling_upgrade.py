"""A rolling upgrade of two nodes under load: each drains, ends and starts again, and no call fails.

    .venv/bin/python -m loadtests.rolling_upgrade                               # 2 rounds, 20 calls/s
    .venv/bin/python -m loadtests.rolling_upgrade --rounds 1 --rate 40 --talk 8

Set-up, all on loopback of one machine: two gateways of one process each that share a Redis, SIPp as the agent
(direct media), and SIPp as a carrier with both as its origination URIs at equal priority: each of them gets
every other call first, and when it answers 503, or is silent for four seconds, the other one gets it.

While calls come, the first node is told to end (SIGTERM: it drains), starts again when it has ended, and the
second one follows once the first is ready: what docs/deploy.md has operators do.

Exit code 1 when a call failed, or a node did not end with status 0.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from loadtests import sipp_load
from tests.e2e.exchange import Exchange
from tests.e2e.sipp import free_port, require

HOST = "127.0.0.1"
NUMBERS = 50
SETTLE_SECONDS = 6.0
"""Of load before the first node ends, between two, and after the last one: longer than the carrier waits for
a node that is silent. What it sent there in the last moment comes to the other one that much later, and must
not find that one draining."""

SILENT = -9
"""Status of a node that did not end, and was killed."""

LONGEST_SECONDS = 1800
"""Of load, if nobody ends it before."""


def main(options: argparse.Namespace) -> int:
    """Run it, and print what came of it as JSON."""
    with tempfile.TemporaryDirectory() as text, contextlib.ExitStack() as stack:
        directory = Path(text)
        redis_url = _redis(directory, stack)
        agent = sipp_load.agent(directory)
        stack.callback(agent.stop)
        numbers = [f"+1573969{number:04d}" for number in range(NUMBERS)]
        nodes = []
        for name in ("first", "second"):
            (directory / name).mkdir()
            node = Exchange(
                directory / name,
                redis={"url": redis_url},
                logs={"level": "info"},
                drain={"timeout": options.talk + 30.0},
                # Starting takes all of a small machine.
                dispatch={"response_timeout": 10.0, "ring_timeout": 20.0},
            )
            stack.callback(lambda node=node: node.gateway.stop())
            node.load([(number, agent.agent_uri) for number in numbers])
            nodes.append(node)
        ports = [node.gateway.sip[1] for node in nodes]
        listed = directory / "numbers.csv"
        rows = [f"{number};{first};{other}" for number in numbers for first, other in (ports, ports[::-1])]
        listed.write_text("SEQUENTIAL\n" + "\n".join(rows) + "\n")
        caller = sipp_load.caller(
            directory,
            nodes[0].gateway.sip,
            listed,
            rate=options.rate,
            calls=options.rate * LONGEST_SECONDS,
            talk_ms=round(options.talk * 1000),
            scenario="caller_two_nodes",
        )
        time.sleep(SETTLE_SECONDS)
        upgrades = []
        for _ in range(options.rounds):
            for node in nodes:
                upgrades.append(_upgrade(node, options.talk + 40.0))
                time.sleep(SETTLE_SECONDS)
        outcome = caller.stop(options.talk + 10.0)
        told = {
            "calls": outcome.succeeded + outcome.failed,
            "failed": outcome.failed,
            "went_to_the_other_node": outcome.moved,
            "retransmissions": outcome.retransmissions,
            "rate": round(outcome.rate, 1),
            "upgrades": upgrades,
        }
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    return int(outcome.failed > 0 or any(each["status"] for each in upgrades))


def _redis(directory: Path, stack: contextlib.ExitStack) -> str:
    """The Redis that both share; where it is."""
    port = free_port(HOST)
    command = [require("redis-server"), "--port", str(port), "--bind", HOST, "--save", ""]
    server = subprocess.Popen([*command, "--dir", str(directory)], stdout=subprocess.DEVNULL)
    stack.callback(server.wait)
    stack.callback(server.terminate)
    return f"redis://{HOST}:{port}"


def _upgrade(node: Exchange, patience: float) -> dict[str, float]:
    """Have a node drain and end, and start it again."""
    began = time.monotonic()
    node.gateway.terminate()
    try:
        status = node.gateway.exit_code(patience)
    except subprocess.TimeoutExpired:
        node.gateway.kill()
        status = SILENT
    ended = time.monotonic() - began
    node.start_again()
    return {
        "ended_after": round(ended, 2),
        "ready_again_after": round(time.monotonic() - began, 2),
        "status": status,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2, help="upgrades of both nodes")
    parser.add_argument("--rate", type=int, default=20, help="calls a second")
    parser.add_argument("--talk", type=float, default=4.0, help="seconds of each call")
    raise SystemExit(main(parser.parse_args()))

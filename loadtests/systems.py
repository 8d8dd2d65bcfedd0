"""What is put under the load of signalling: the gateway, or a peer that does the same work."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests import process_meter
from loadtests.sipp_load import free_port
from tests.e2e.exchange import Exchange
from tests.e2e.gateway_process import PROGRAM

Address = tuple[str, int]
Rows = Sequence[tuple[str, str]]
"""Dialled numbers and the URI of the agent behind each; `;media=direct` is for the gateway alone."""

HOST: Final = "127.0.0.1"
PEERS: Final = Path(__file__).parent / "peers"
START_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class System:
    """One under load.

    name: with its version; sip: where calls go; main: the process that it was started as, measured with its
    children; metric: the sum of its samples of that name and labels, 0 for a system without metrics.
    """

    name: str
    sip: Address
    main: int
    metric: Callable[..., float] = lambda name, **labels: 0.0

    @property
    def cpu_ms(self) -> float:
        """User and system time of all its processes so far."""
        return sum(map(process_meter.cpu_ms, self._processes()))

    @property
    def resident_kib(self) -> float:
        """Of all its processes; pages that they share count for each."""
        return sum(map(process_meter.resident_kib, self._processes()))

    def _processes(self) -> list[int]:
        return [self.main, *process_meter.children(self.main, skip="redis-server")]


def voice_gateway(
    directory: Path,
    stack: contextlib.ExitStack,
    rows: Rows,
    *,
    prepare: Callable[[Exchange], None] = lambda exchange: None,
    program: Path = PROGRAM,
    **sections: dict[str, object],
) -> System:
    """One process of ours, its embedded Redis not measured.

    prepare: may declare more numbers; program: the command, of whichever build; sections: further settings.
    """
    sections.setdefault("drain", {"timeout": 2.0})  # beyond its capacity calls are left behind unfinished
    exchange = Exchange(directory, program=program, logs={"level": "warning"}, **sections)
    gateway = stack.enter_context(exchange.gateway)
    exchange.load(rows)
    prepare(exchange)
    return System("voice-gateway", gateway.sip, gateway.pid, gateway.metric)


def kamailio(directory: Path, stack: contextlib.ExitStack, rows: Rows, *, children: int = 1) -> System:
    """Kamailio as a stateful relay with a lookup in Redis (`peers/kamailio.cfg`), with so many workers."""
    if not any(Path("/usr/lib").glob("*/kamailio/modules/ndb_redis.so")):
        raise FileNotFoundError("needs Debian's packages kamailio and kamailio-redis-modules")
    redis = directory / "routes.sock"
    _start(stack, directory, "redis-server", "--port", "0", "--unixsocket", str(redis), "--save", "")
    _until(redis.exists, "redis-server listens")
    commands = "".join(f"SET route:{number} {uri.partition(';')[0]}\n" for number, uri in rows)
    subprocess.run(["redis-cli", "-s", redis], input=commands, text=True, check=True, capture_output=True)
    port = free_port(HOST)
    defined = {
        "LISTEN": f"udp:{HOST}:{port}",
        "CHILDREN": str(children),
        "REDIS": f'"name=routes;unix={redis};db=0"',
    }
    definitions = [word for name, value in defined.items() for word in ("-A", f"{name}={value}")]
    runtime = ["-f", str(PEERS / "kamailio.cfg"), "-Y", str(directory), "-P", str(directory / "kamailio.pid")]
    main = _start(stack, directory, "kamailio", "-DD", "-E", "-m", "512", *runtime, *definitions)
    _until(lambda: _answers((HOST, port)), "kamailio answers")
    version = subprocess.run(["kamailio", "-v"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"kamailio (\S+)", version)
    name = f"Kamailio {found[1] if found else ''}, {children} worker{'s' if children > 1 else ''}"
    return System(name, (HOST, port), main)


def _start(stack: contextlib.ExitStack, directory: Path, *command: str) -> int:
    process = subprocess.Popen(
        command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def end() -> None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)
    return process.pid


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {START_SECONDS:g} s: {what}")
        time.sleep(0.05)


def _answers(address: Address) -> bool:
    """Whether somebody answers OPTIONS there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        sock.settimeout(0.2)
        port = sock.getsockname()[1]
        request = (
            f"OPTIONS sip:{address[0]}:{address[1]} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {HOST}:{port};branch=z9hG4bKup{port}\r\n"
            f"From: <sip:bench@{HOST}>;tag=1\r\nTo: <sip:bench@{HOST}>\r\nCall-ID: up{os.getpid()}{port}\r\n"
            "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )
        sock.sendto(request.encode(), address)
        try:
            return sock.recv(65535).startswith(b"SIP/2.0 200")
        except OSError:
            return False

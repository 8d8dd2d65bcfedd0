"""SIPp as a process: one scenario, one role, an exit code, and its logs when it fails.

SIPp 3.6 answers 0 when every call went exactly as its scenario says, so most of these tests are the
scenario file. ``{name}`` in a scenario is filled in before SIPp sees it, for what SIPp cannot take
from its command line (the status a ``recv`` expects, for one).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

SCENARIOS = Path(__file__).parent / "scenarios"
_PORTS = range(20_000, 30_000)  # below the kernel's ephemeral range, so that nobody is given ours by chance


def require(program: str) -> str:
    """The path of a real peer's program; without it the test is skipped, unless CI says it must be there."""
    path = shutil.which(program)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed; `make test` installs it")
        pytest.skip(f"{program} is not installed")
    return path


def free_port(host: str) -> int:
    """A port which both UDP and TCP can have on ``host`` now."""
    for port in random.sample(_PORTS, 200):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        ):
            try:
                udp.bind((host, port))
                tcp.bind((host, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port on {host}")


class Sipp:
    """A running SIPp. Leaving the ``with`` block kills it if it still runs."""

    def __init__(
        self,
        directory: Path,
        scenario: str,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        remote: tuple[str, int] | None = None,
        transport: str = "u1",
        calls: int = 1,
        seconds: int = 90,
        arguments: tuple[str, ...] = (),
        **blanks: object,
    ) -> None:
        """Start it.

        remote: the gateway for a caller; None for an agent, which waits.
        seconds: the run fails if it has not finished by then; long, for an agent waits while gateways start
            beside it on a machine that is busy.
        blanks: what to write in the scenario's ``{…}``.
        """
        self.scenario = scenario
        self.address = (host, free_port(host) if port is None else port)
        self.transport = transport
        text = (SCENARIOS / f"{scenario}.xml").read_text()
        for name, value in blanks.items():
            text = text.replace(f"{{{name}}}", str(value))
        stem = directory / f"{scenario}_{self.address[1]}"
        sheet, self._messages, self._errors = (stem.with_suffix(s) for s in (".xml", ".messages", ".errors"))
        sheet.write_text(text)
        command = [require("sipp"), *([f"{remote[0]}:{remote[1]}"] if remote else [])]
        command += ["-sf", str(sheet), "-i", host, "-p", str(self.address[1]), "-bind_local", "-t", transport]
        command += ["-m", str(calls), "-timeout", f"{seconds}s", "-timeout_error", "-nostdin", "-aa"]
        command += ["-trace_msg", "-message_file", str(self._messages)]
        command += ["-trace_err", "-error_file", str(self._errors), *arguments]
        self._seconds = seconds
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            cwd=directory,
        )
        if remote is None:
            self._wait_until_bound()

    @property
    def uri(self) -> str:
        """How to call it."""
        suffix = ";transport=tcp" if self.transport.startswith("t") else ""
        return f"sip:agent@{self.address[0]}:{self.address[1]}{suffix}"

    @property
    def story(self) -> str:
        """Its messages and its complaints, for the report of a failing test."""
        logs = [path.read_text(errors="replace") for path in (self._errors, self._messages) if path.exists()]
        return "\n".join([f"— sipp {self.scenario} —", *logs])

    def _wait_until_bound(self) -> None:
        protocol = "tcp" if self.transport.startswith("t") else "udp"
        needle = f":{self.address[1]:04X} 00000000:0000"
        deadline = time.monotonic() + 5
        while needle not in Path(f"/proc/net/{protocol}").read_text():
            assert self._process.poll() is None, f"SIPp ended at once\n{self.story}"
            assert time.monotonic() < deadline, "SIPp does not listen"
            time.sleep(0.02)

    def exit_code(self) -> int:
        """Wait for the end: 0 when every call went as written, 1 when one did not, else SIPp's own."""
        return self._process.wait(self._seconds + 5)

    def succeed(self) -> Self:
        """Wait for the end, which must be that every call went as written."""
        code = self.exit_code()
        assert code == 0, f"SIPp {self.scenario} ended with {code}\n{self.story}"
        return self

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

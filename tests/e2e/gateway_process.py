"""The gateway as an operator runs it: `voice-gateway serve`, its HTTP port, its log, its end."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.patience import PATIENCE
from tests.e2e.wire import Address

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Section = Mapping[str, object]

_AS_SYSTEMD = """
import fcntl, os, sys
split = sys.argv.index("--")
taken = [fcntl.fcntl(int(each), fcntl.F_DUPFD, 100) for each in sys.argv[1:split]]  # else one is overwritten
for descriptor in range(3, 3 + len(taken)):
    os.dup2(taken[descriptor - 3], descriptor)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(taken)), LISTEN_FDNAMES=":".join("x" * len(taken)))
os.execv(sys.argv[split + 1], sys.argv[split + 1 :])
"""
"""A service manager's last steps before a service: its sockets from descriptor 3 on, and what says so."""

PROGRAM = Path(sys.executable).with_name("voice-gateway")


def to_toml(settings: Mapping[str, Section]) -> str:
    """One table a section; JSON's strings, numbers, booleans and arrays are TOML's."""
    lines: list[str] = []
    for section, values in settings.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
    return "\n".join(lines)


def wait_until(condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
    """Poll every 20 ms; fails the test when ``timeout`` seconds did not suffice."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.02)


class GatewayProcess:
    """One running gateway. Leaving the ``with`` block stops it and demands a clean end."""

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, Section],
        *,
        sip: Address,
        http: Address,
        patience: float = 2 * PATIENCE,
        program: Path = PROGRAM,
        passed: Sequence[socket.socket] = (),
    ) -> None:
        """passed: sockets that it is given as systemd gives them."""
        self.sip, self.http = sip, http
        self.data = Path(str(settings["data"]["dir"]))
        self._settings = settings
        self._log = directory / "gateway.log"
        config = directory / "gateway.toml"
        config.write_text(to_toml(settings))
        descriptors = [str(sock.fileno()) for sock in passed]
        command = [sys.executable, "-S", "-c", _AS_SYSTEMD, *descriptors, "--"] if passed else []
        command += [str(program), "serve", "--config", str(config)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=directory,
                pass_fds=[sock.fileno() for sock in passed],
            )
        try:
            wait_until(self.is_ready, "the gateway is ready", patience)
        except AssertionError as failure:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"{failure}\n{self.log}") from None

    def successor(self, directory: Path) -> GatewayProcess:
        """A gateway that takes over from this one."""
        taking = GatewayProcess(directory, self._settings, sip=self.sip, http=self.http)

        def led() -> bool:
            return any(line["event"] == "ready" and "workers" in line for line in taking.log_lines())

        try:
            wait_until(led, "it has taken over", 90)
        except AssertionError:
            taking._process.kill()
            taking._process.wait()
            raise
        return taking

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def log_lines(self) -> list[dict[str, object]]:
        """The structured lines of its log."""
        lines = (line for line in self.log.splitlines() if line.startswith("{"))
        return [json.loads(line) for line in lines]

    def get(self, path: str) -> tuple[int, str]:
        """(status, body) of a GET; (0, reason) while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://{self.http[0]}:{self.http[1]}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()
        except OSError as error:
            return 0, str(error)

    def is_ready(self) -> bool:
        assert self._process.poll() is None, f"the gateway ended with {self._process.returncode}\n{self.log}"
        return self.get("/readyz")[0] == 200

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name which carry these labels."""
        status, text = self.get("/metrics")
        assert status == 200, text
        total = 0.0
        for sample, written, value in _SAMPLE.findall(text):
            if sample == name and labels.items() <= dict(_LABEL.findall(written)).items():
                total += float(value)
        return total

    def reload(self) -> None:
        """SIGHUP."""
        self._process.send_signal(signal.SIGHUP)

    def terminate(self) -> None:
        """SIGTERM: begin the drain."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: nothing is said, nothing is saved."""
        self._process.kill()
        self._process.wait()

    def exit_code(self, timeout: float = PATIENCE) -> int:
        return self._process.wait(timeout)

    def stop(self) -> None:
        """SIGTERM and a clean end: exit code 0, no traceback, no complaint about what was never awaited."""
        if self._process.poll() is None:
            self.terminate()
        try:
            code = self.exit_code()
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"SIGTERM did not end the gateway\n{self.log}") from None
        assert code == 0, f"the gateway ended with {code}\n{self.log}"
        for symptom in ("Traceback", "never awaited", "never retrieved", "was destroyed but it is pending"):
            assert symptom not in self.log, f"{symptom!r} in the log\n{self.log}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:  # the failure under way matters more than how the process ends
            self._process.kill()
            self._process.wait()

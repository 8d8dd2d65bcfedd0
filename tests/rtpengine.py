"""The real rtpengine (Debian's rtpengine-daemon) in userspace, for as long as a test needs it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.media.bencode import encode


class RtpEngineDaemon:
    """One instance on the loopback. address: of its ng protocol; ports: the range of its media."""

    def __init__(self, directory: Path, ports: tuple[int, int] = (42_000, 43_998)) -> None:
        self.directory = directory
        self.ports = ports
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.address: tuple[str, int] = probe.getsockname()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        program = shutil.which("rtpengine")
        assert program is not None, "Debian's rtpengine-daemon is missing: scripts/setup test"
        with (self.directory / "rtpengine.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(program, "--config-file=none", "--foreground", "--log-stderr", "--log-level=4"),
                    *("--table=-1", "--interface=127.0.0.1", f"--listen-ng={self.name}"),
                    *(f"--port-min={self.ports[0]}", f"--port-max={self.ports[1]}", "--num-threads=2"),
                    f"--pidfile={self.directory / 'rtpengine.pid'}",
                ],
                stdout=log,
                stderr=log,
            )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
            ours.connect(self.address)
            ours.settimeout(0.1)
            for _ in range(100):
                try:
                    ours.send(b"1 " + encode({"command": "ping"}))
                    ours.recv(100)
                except OSError:
                    time.sleep(0.05)
                else:
                    return
        raise AssertionError((self.directory / "rtpengine.log").read_text())

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

"""Kamailio as a process: on loopback alone, from a configuration file, until the ``with`` block ends.

Debian's packages kamailio and kamailio-tls-modules.
"""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.sipp import require
from tests.e2e.wire import Address


class KamailioProcess:
    """One process tree that runs `config` and listens on TCP at `listener`, which tells that it is up."""

    def __init__(self, config: Path, listener: Address) -> None:
        directory = config.parent
        self._log = directory / "kamailio.log"
        command = [require("kamailio"), "-f", str(config), "-DD", "-E", "-m", "32", "-M", "8"]
        command += ["-Y", str(directory), "-P", str(directory / "kamailio.pid"), "-w", str(directory)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory
            )
        deadline = time.monotonic() + 20
        while not self._accepts(listener):
            assert self._process.poll() is None, f"Kamailio ended\n{self.story}"
            assert time.monotonic() < deadline, f"Kamailio does not listen\n{self.story}"
            time.sleep(0.05)

    @property
    def story(self) -> str:
        """Its log, for the report of a failing test."""
        return f"— kamailio —\n{self._log.read_text(errors='replace')[-6000:]}"

    def stop(self) -> None:
        """End it and its children."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _accepts(self, listener: Address) -> bool:
        try:
            socket.create_connection(listener, timeout=1).close()
        except OSError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

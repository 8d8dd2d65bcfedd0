"""Hosts on one machine: network namespaces on a bridge, each with an address, programs and a link that can
fail.

All of it lives in namespaces of our own (`enter`): network, mounts and processes. When this process ends,
however it ends, the kernel takes everything with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

INSIDE: Final = "FAULTS_INSIDE"
"""Set in the process that runs within namespaces of its own."""

NETWORK: Final = "10.77.0"
"""The first three bytes of every host's address; it is seen by nobody outside."""

STUTTER: Final = (0.02, 0.08)
"""Seconds that the programs of a slow host run, and stand still, in turn, where the kernel has no netem."""

_NAMES: Final = "/run/netns"

_NAMED: Final = ["unshare", "--uts", "sh", "-c", 'echo "$0" >/proc/sys/kernel/hostname && exec "$@"']
"""Before a host's name and a command: for that the host is called so, as gateways are told apart."""

_UNSHARE: Final = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def obstacle() -> str | None:
    """Why hosts cannot be made here, in a few words; None if they can."""
    for program in ("unshare", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    done = subprocess.run(
        [
            *_UNSHARE,
            "sh",
            "-c",
            "ip link add vgbridge type bridge && ip link add vgnear type veth peer name vgfar",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else f"network namespaces are not permitted: {done.stderr.strip()}"


def enter(arguments: Sequence[str]) -> int:
    """Run `arguments` as a Python module within namespaces of its own; its exit status."""
    command = [*_UNSHARE, sys.executable, "-m", *arguments]
    return subprocess.run(command, env=os.environ | {INSIDE: "1"}, check=False).returncode


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Lan:
    """The bridge that all hosts are on; this process is on it, too, as the last address."""

    def __init__(self) -> None:
        Path(_NAMES).mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", _NAMES], check=True)
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "lan", "type", "bridge")
        _ip("address", "add", f"{NETWORK}.254/24", "dev", "lan")
        _ip("link", "set", "lan", "up")
        self.has_netem = self._try_netem()

    def _try_netem(self) -> bool:
        done = subprocess.run(
            ["tc", "qdisc", "add", "dev", "lan", "root", "netem", "delay", "1ms"],
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            subprocess.run(["tc", "qdisc", "del", "dev", "lan", "root"], check=True)
        return done.returncode == 0


class Program:
    """A command on a host, which can be started again."""

    def __init__(
        self, host: Host, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.host = host
        self.name = name
        self.log = log
        self._command = ["ip", "netns", "exec", host.name, *_NAMED, host.name, *command]
        self._environment = dict(os.environ) | dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self.may_fail = False

    @property
    def running(self) -> bool:
        """Whether its process lives; one that stands still does."""
        return self._process is not None and self._process.poll() is None

    @property
    def failed(self) -> bool:
        """Whether it has ended by itself, and not well; `may_fail` forgives that."""
        ended = None if self._process is None else self._process.poll()
        return ended not in (None, 0) and not (self._killed or self.may_fail)

    @property
    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:]

    def start(self) -> None:
        """Start it, unless it runs; what it says is added to its log."""
        if self.running:
            return
        self._killed = False
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self.log.parent,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send it to the process and all its children."""
        if self._process is not None and self.running:
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """As a crash would."""
        self._killed = True
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def stop(self, seconds: float) -> int | None:
        """SIGTERM and its exit status; None if it had to be killed after those seconds."""
        if self._process is None:
            return None
        self.signal(signal.SIGTERM)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None


class Host:
    """A network namespace with programs of its own.

    Args:
        lan: what it is on.
        name: in two letters or so; number: the last byte of its address.

    """

    def __init__(self, lan: Lan, name: str, number: int, directory: Path) -> None:
        self.name = name
        self.address = f"{NETWORK}.{number}"
        self.directory = directory / name
        self.directory.mkdir(parents=True)
        self.programs: list[Program] = []
        self._lan = lan
        self._stutter: threading.Event | None = None
        _ip("netns", "add", name)
        _ip("link", "add", f"v{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", f"v{name}", "master", "lan", "up")
        for words in (
            ("address", "add", f"{self.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", name, *words)

    def runs(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Program:
        """Give it a program, and start that."""
        program = Program(self, name, command, environment or {}, self.directory / f"{name}.log")
        self.programs.append(program)
        program.start()
        return program

    # What may happen to it; each has an end that may come when nothing is wrong.

    def kill(self) -> None:
        """All its programs at once."""
        for program in self.programs:
            program.kill()

    def start(self) -> None:
        """Those that do not run."""
        for program in self.programs:
            program.start()

    def freeze(self) -> None:
        """Its programs stand still; its kernel goes on taking what comes."""
        for program in self.programs:
            program.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """They go on."""
        for program in self.programs:
            program.signal(signal.SIGCONT)

    def unplug(self) -> None:
        """Nothing gets to it or from it."""
        _ip("link", "set", f"v{self.name}", "down")

    def plug(self) -> None:
        """The cable is back."""
        _ip("link", "set", f"v{self.name}", "up")

    def slow(self) -> None:
        """Its packets take 150 ms and some get lost; without netem its programs run a fifth of the time."""
        if self._lan.has_netem:
            netem = "netem delay 150ms 50ms loss 2%"
            command = f"ip netns exec {self.name} tc qdisc replace dev eth0 root {netem}"
            subprocess.run(command.split(), check=True)
        elif self._stutter is None:
            self._stutter = threading.Event()
            threading.Thread(target=self._run_slowly, args=(self._stutter,), daemon=True).start()

    def hasten(self) -> None:
        """As fast as ever."""
        if self._lan.has_netem:
            command = f"ip netns exec {self.name} tc qdisc del dev eth0 root"
            subprocess.run(command.split(), check=False, capture_output=True)
        elif self._stutter is not None:
            self._stutter.set()
            self._stutter = None

    def _run_slowly(self, over: threading.Event) -> None:
        running, standing = STUTTER
        while not over.wait(running):
            self.freeze()
            over.wait(standing)
            self.thaw()

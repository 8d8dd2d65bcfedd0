"""Hosts on one machine: network namespaces on two bridges, each with an address, programs and a cable that
can fail; and a cable between the bridges, which can be cut.

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
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from loadtests.faults.cable import SlowCable, possible, send_whole_frames

INSIDE: Final = "FAULTS_INSIDE"
"""Set in the process that runs within namespaces of its own."""

NETWORK: Final = "10.77.0"
"""The first three bytes of every host's address; it is seen by nobody outside."""

STUTTER: Final = (0.02, 0.08)
"""Seconds that the programs of a slow host run, and stand still, in turn, where cables cannot be slow."""

RESTART_SECONDS: Final = 30.0
"""For a program that is told to end; one that has not by then is killed, and that is a fault of its own."""

LINGER_SECONDS: Final = 4.0
"""For one that takes no new calls by then, but would not end; no call of the load is longer."""

Slowness: TypeAlias = Literal["netem", "cable", "stutter"]
"""How a host can be slow here: by the kernel, by a cable of ours, or only by standing still now and then."""

Shore: TypeAlias = Literal["near", "far"]
"""The bridge that a host is on."""

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
    """The two bridges that hosts are on, and a cable between them; this process is on the far one, where the
    API is, as the last address."""

    def __init__(self) -> None:
        Path(_NAMES).mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", _NAMES], check=True)
        _ip("link", "set", "lo", "up")
        for shore in ("near", "far"):
            _ip("link", "add", shore, "type", "bridge")
            _ip("link", "set", shore, "up")
        _ip("address", "add", f"{NETWORK}.254/24", "dev", "far")
        _ip("link", "add", "sea", "type", "veth", "peer", "name", "coast")
        _ip("link", "set", "sea", "master", "near", "up")
        _ip("link", "set", "coast", "master", "far", "up")
        # Or this process would answer for itself at the end of a cable that was taken off its bridge.
        Path("/proc/sys/net/ipv4/conf/all/arp_ignore").write_text("1")
        self.slowness: Slowness = "netem" if self._has_netem() else "cable" if possible() else "stutter"

    def cut(self) -> None:
        """Nothing gets from one bridge to the other."""
        _ip("link", "set", "sea", "down")

    def join(self) -> None:
        """The cable between them is back."""
        _ip("link", "set", "sea", "up")

    def _has_netem(self) -> bool:
        done = subprocess.run(
            ["tc", "qdisc", "add", "dev", "far", "root", "netem", "delay", "1ms"],
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            subprocess.run(["tc", "qdisc", "del", "dev", "far", "root"], check=True)
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
        self.polite = signal.SIGTERM
        """What tells it to end in good order."""
        self.lingers = False
        """Whether it may be killed `LINGER_SECONDS` later: SIPp waits on for calls that are over."""

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

    def ended(self, seconds: float) -> bool:
        """Wait for its end; False if it had to be killed after those seconds."""
        self._killed = True
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True


class Host:
    """A network namespace with programs of its own.

    Args:
        lan: what it is on.
        name: in two letters or so; number: the last byte of its address.
        shore: where it is.

    """

    def __init__(self, lan: Lan, name: str, number: int, directory: Path, shore: Shore) -> None:
        self.name = name
        self.address = f"{NETWORK}.{number}"
        self.directory = directory / name
        self.directory.mkdir(parents=True)
        self.programs: list[Program] = []
        self.unfinished: list[str] = []
        """Programs that were told to end, and did not."""
        self._lan = lan
        self._shore = shore
        self._stutter: threading.Event | None = None
        self._cable: SlowCable | None = None
        self._restart: threading.Thread | None = None
        _ip("netns", "add", name)
        _ip("link", "add", f"v{name}", "type", "veth", "peer", "name", f"p{name}")
        send_whole_frames(f"p{name}")
        _ip("link", "set", f"p{name}", "netns", name, "name", "eth0")
        _ip("link", "set", f"v{name}", "master", shore, "up")
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

    def restart(self) -> None:
        """All its programs end in good order, however long that takes them, and are started again."""
        self._restart = threading.Thread(target=self._restarting, name=f"restart of {self.name}")
        self._restart.start()

    def restarted(self) -> None:
        """They are."""
        if self._restart is not None:
            self._restart.join()
            self._restart = None

    def _restarting(self) -> None:
        began = time.monotonic()
        for program in self.programs:
            program.signal(program.polite)
        for program in self.programs:
            ended = program.ended(LINGER_SECONDS if program.lingers else RESTART_SECONDS)
            if not ended and not program.lingers:
                self.unfinished.append(program.name)
        print(f"                 {self.name} ended after {time.monotonic() - began:.1f} s", flush=True)
        self.start()

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
        """A question and its answer take 150 ms longer, and some get lost; where neither the kernel nor a
        cable of ours can do that, its programs run a fifth of the time."""
        if self._lan.slowness == "netem":
            netem = "netem delay 150ms 50ms loss 2%"
            command = f"ip netns exec {self.name} tc qdisc replace dev eth0 root {netem}"
            subprocess.run(command.split(), check=True)
        elif self._lan.slowness == "cable":
            self._cable = self._cable or SlowCable(f"v{self.name}", self._shore, f"t{self.name}")
        elif self._stutter is None:
            self._stutter = threading.Event()
            threading.Thread(target=self._run_slowly, args=(self._stutter,), daemon=True).start()

    def hasten(self) -> None:
        """As fast as ever."""
        if self._lan.slowness == "netem":
            command = f"ip netns exec {self.name} tc qdisc del dev eth0 root"
            subprocess.run(command.split(), check=False, capture_output=True)
        elif self._cable is not None:
            self._cable.take_away()
            self._cable = None
        elif self._stutter is not None:
            self._stutter.set()
            self._stutter = None

    def _run_slowly(self, over: threading.Event) -> None:
        running, standing = STUTTER
        while not over.wait(running):
            self.freeze()
            over.wait(standing)
            self.thaw()

"""The edge of `configs/kamailio` before nodes of a test's choice: the shipped files, with a site of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.kamailio import KamailioProcess
from tests.e2e.sipp import free_port, require
from tests.e2e.wire import Address

SHIPPED = Path(__file__).parents[2] / "configs" / "kamailio"

HOST = "127.0.20.1"
"""Not the nodes' address, so that the edge cannot take them for itself."""

_SITE = """\
#!define EDGE_DIRECTORY "{directory}"
#!define EDGE_CONTROL "unix:{control}"
listen=udp:{host}:{port}
listen=tcp:{host}:{port}
"""

_TLS_SITE = """\
#!define WITH_TLS
listen=tls:{host}:{port}
"""


class Edge(KamailioProcess):
    """A running edge.

    Args:
        nodes: URIs of the gateways, in the order of nodes.list.
        carriers: addresses that may call.
        certificate: of its TLS listener, in one file with its key; None for no such listener.
        settings: further names of site.cfg; nodes are probed each second unless they say otherwise.

    """

    def __init__(
        self,
        directory: Path,
        nodes: Sequence[str],
        *,
        carriers: Sequence[str],
        certificate: Path | None = None,
        **settings: int,
    ) -> None:
        self.directory = directory
        self.address: Address = (HOST, free_port(HOST))
        self.tls: Address = (HOST, free_port(HOST))
        directory.mkdir(exist_ok=True)
        for name in ("kamailio.cfg", "tls.cfg"):
            shutil.copy(SHIPPED / name, directory)
        # A socket's path has 107 bytes at most, and pytest's directories are deep.
        self._control = f"/tmp/edge_{self.address[1]}.ctl"
        site = _SITE.format(directory=directory, control=self._control, host=HOST, port=self.address[1])
        settings.setdefault("probe_seconds", 1)
        site += "".join(f"#!define {name.upper()} {value}\n" for name, value in settings.items())
        if certificate is not None:
            site += _TLS_SITE.format(host=HOST, port=self.tls[1])
            tls = (directory / "tls.cfg").read_text()
            for file in ("/etc/kamailio/tls/fullchain.pem", "/etc/kamailio/tls/privkey.pem"):
                tls = tls.replace(file, str(certificate))
            (directory / "tls.cfg").write_text(tls)
        (directory / "site.cfg").write_text(site)
        (directory / "carriers.list").write_text("".join(f"1 {host} 32 0 test\n" for host in carriers))
        self.write_nodes(nodes)
        super().__init__(directory / "kamailio.cfg", self.address)

    def write_nodes(self, nodes: Sequence[str]) -> None:
        """Write nodes.list; `control("dispatcher.reload")` makes it count."""
        (self.directory / "nodes.list").write_text("".join(f"1 {uri}\n" for uri in nodes))

    def control(self, *words: str) -> str:
        """What kamcmd says."""
        command = [require("kamcmd"), "-s", f"unix:{self._control}", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def taking_calls(self) -> set[str]:
        """The nodes that get calls now: those whose state begins with A."""
        listed = re.findall(r"URI: (\S+)\s+FLAGS: (\w)", self.control("dispatcher.list"))
        return {uri for uri, state in listed if state == "A"}

    def stop(self) -> None:
        super().stop()
        Path(self._control).unlink(missing_ok=True)

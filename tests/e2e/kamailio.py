"""Kamailio as an edge proxy in front of the gateway: it adds Record-Route, and everything of a call passes it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.sipp import free_port, require
from tests.e2e.wire import Address

MODULES = ("tm", "sl", "rr", "pv", "maxfwd", "siputils", "textops")

CONFIG = """\
debug=1
log_stderror=yes
children=1
tcp_children=1
listen=udp:{host}:{port}
listen=tcp:{host}:{port}
{modules}
modparam("rr", "enable_double_rr", 1)

request_route {{
    if (!mf_process_maxfwd_header("20")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
        sl_send_reply("404", "Not Here");
        exit;
    }}
    record_route();
    $du = "sip:{gateway[0]}:{gateway[1]};transport={transport}";
    t_relay();
}}
"""


class Kamailio:
    """A running proxy; leaving the ``with`` block ends it."""

    def __init__(self, directory: Path, gateway: Address, *, transport: str, host: str = "127.0.0.1") -> None:
        """Listen on UDP and TCP, and pass everything on to the gateway over `transport`."""
        self.address = (host, free_port(host))
        modules = "\n".join(f'loadmodule "{name}.so"' for name in MODULES)
        config = directory / "kamailio.cfg"
        config.write_text(
            CONFIG.format(
                host=host, port=self.address[1], modules=modules, gateway=gateway, transport=transport
            )
        )
        self._log = directory / "kamailio.log"
        command = [require("kamailio"), "-f", str(config), "-DD", "-E", "-m", "32", "-M", "8"]
        command += ["-Y", str(directory), "-P", str(directory / "kamailio.pid")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        needle = f":{self.address[1]:04X} 00000000:0000 0A"
        while needle not in Path("/proc/net/tcp").read_text():  # its last listener
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, f"Kamailio does not listen\n{self.log}"
            time.sleep(0.05)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

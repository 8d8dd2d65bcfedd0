"""What is sent to Homer, read by Kamailio, whose `sipcapture` is what Homer captures with."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import carriers
from tests.e2e.exchange import HOST, Exchange
from tests.e2e.gateway_process import wait_until
from tests.e2e.sipp import Sipp, free_port, require

pytestmark = pytest.mark.e2e

CONFIG = """\
debug=1
log_stderror=yes
children=1
disable_tcp=yes
listen=udp:{host}:{port}
loadmodule "db_text.so"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "sipcapture.so"
modparam("sipcapture", "db_url", "text://{directory}")
modparam("sipcapture", "capture_on", 1)
modparam("sipcapture", "hep_capture_on", 1)
request_route {{ xlog("L_ALERT", "heard $rm from $si:$sp in $ci\\n"); drop; }}
onreply_route {{ xlog("L_ALERT", "heard $rs from $si:$sp in $ci\\n"); drop; }}
"""


class Capturing:
    """A Kamailio that takes HEP and says whom it heard."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port(HOST)
        (directory / "version").write_text("table_name(string) table_version(int)\nsip_capture:4:\n")
        (directory / "sip_capture").write_text("id(int,auto)\n")
        config = directory / "kamailio.cfg"
        config.write_text(CONFIG.format(host=HOST, port=self.port, directory=directory))
        self._log = directory / "kamailio.log"
        command = [require("kamailio"), "-f", str(config), "-DD", "-E", "-m", "32", "-M", "8"]
        command += ["-Y", str(directory), "-P", str(directory / "kamailio.pid")]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while f":{self.port:04X} 00000000:0000" not in Path("/proc/net/udp").read_text():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, f"Kamailio does not listen\n{self.log}"
            time.sleep(0.05)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


@pytest.fixture
def capturing(tmp_path: Path) -> Iterator[Capturing]:
    directory = tmp_path / "kamailio"
    directory.mkdir()
    kamailio = Capturing(directory)
    yield kamailio
    kamailio.process.terminate()
    try:
        kamailio.process.wait(10)
    except subprocess.TimeoutExpired:
        kamailio.process.kill()
        kamailio.process.wait()


def test_kamailio_hears_both_sides_of_a_call(tmp_path: Path, capturing: Capturing):
    exchange = Exchange(tmp_path, tracing={"hep_address": f"{HOST}:{capturing.port}", "hep_password": "ours"})
    with exchange.gateway as gateway, Sipp(tmp_path, "agent_answers", ring=0) as agent:
        line = exchange.line(agent.uri)
        with Sipp(
            tmp_path,
            "carrier_twilio",
            host=carriers.TWILIO_HOST,
            remote=gateway.sip,
            arguments=("-s", line.number),
            talk=100,
        ) as carrier:
            carrier.succeed()
            agent.succeed()
        caller = f"from {carrier.address[0]}:{carrier.address[1]} "
        callee = f"from {agent.address[0]}:{agent.address[1]} "
        ours = f"from {gateway.sip[0]}:{gateway.sip[1]} "
        for heard in (
            f"INVITE {caller}",
            f"ACK {caller}",
            f"BYE {caller}",
            f"180 {callee}",
            f"200 {callee}",
            f"200 {ours}",
        ):
            wait_until(lambda heard=heard: f"heard {heard}" in capturing.log, f"Kamailio heard {heard}")
        assert gateway.metric("gateway_hep_messages_total", result="dropped") == 0

"""`voice-gateway calls`, `trace`, `top` and `drain` against a gateway that runs, and traces against the wire itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.exchange import Exchange
from tests.e2e.gateway_process import wait_until
from tests.e2e.sipp import require
from tests.e2e.two_ends import TwoEnds
from tests.traces.test_pcap import tshark

pytestmark = pytest.mark.e2e


class Shell:
    """Commands as an operator types them beside the gateway's configuration."""

    def __init__(self, exchange: Exchange) -> None:
        self._directory = exchange.gateway.data.parent

    def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        command = [str(Path(sys.executable).with_name("voice-gateway")), *words]
        environ = {
            **os.environ,
            "VOICE_GATEWAY_CONFIG": str(self._directory / "gateway.toml"),
            "COLUMNS": "200",
        }
        return subprocess.run(command, capture_output=True, cwd=self._directory, env=environ, timeout=60)

    def ok(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


@pytest.fixture
def shell(exchange: Exchange) -> Shell:
    return Shell(exchange)


def test_a_call_is_listed_shown_traced_and_hung_up_while_it_lives(exchange: Exchange, shell: Shell) -> None:
    with TwoEnds(exchange) as ends:
        ends.connect()
        (listed,) = json.loads(shell.ok("calls", "list", "--live", "--json"))["items"]
        assert (listed["state"], listed["carrier_call_id"]) == ("talking", ends.call.carrier_call_id)
        assert "talking" in shell.ok("top", "--once")
        shown = shell.ok("calls", "show", ends.call.carrier_call_id)
        assert f"{ends.line.primary} and the caller are talking." in shown
        assert "INVITE +SDP" in shell.ok("trace", listed["id"])
        assert "is over" in shell.ok("calls", "hangup", ends.call.call_id)
        for peer in (ends.carrier, ends.agent):
            bye = peer.receive("BYE")
            peer.respond(bye, 200, "OK")
            if peer is ends.carrier:
                assert "ended by an operator" in bye["reason"]
    wait_until(
        lambda: "ended by an operator" in shell.ok("calls", "show", listed["id"]), "it is in history", 20
    )
    assert listed["id"] in shell.ok("calls", "list", ends.line.number)


def test_a_refused_call_is_found_with_its_rule_and_fix(exchange: Exchange, shell: Shell) -> None:
    with TwoEnds(exchange) as ends:
        number = exchange.unknown_number()
        ends.call.number = number
        ends.call.send()
        assert ends.call.refused().status == 404
    wait_until(lambda: number in shell.ok("calls", "list", "--refused"), "it is in history")
    (refused,) = json.loads(shell.ok("calls", "list", number, "--json"))["items"]
    shown = shell.ok("calls", "show", refused["id"])
    assert "Nobody has registered the dialled number" in shown
    assert "voice-gateway numbers create" in shown


def test_the_ladder_is_what_the_wire_had(exchange: Exchange, shell: Shell, tmp_path: Path) -> None:
    """The same messages in the same order and directions as tshark captured, and within a few milliseconds."""
    capture, ours = tmp_path / "wire.pcap", tmp_path / "ours.pcap"
    command = [require("dumpcap"), "-q", "-i", "lo", "-f", "udp", "-w", str(capture), "-P"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as witness:
        assert witness.stderr is not None
        try:
            wait_until(lambda: _hears(capture, b"are you there?"), "tshark listens")
            with TwoEnds(exchange) as ends:
                caller, callee = ends.connect()
                (live,) = json.loads(shell.ok("calls", "list", "--live", "--json"))["items"]
                ends.hang_up(caller, callee)
            wait_until(lambda: _hears(capture, b"that is all"), "tshark has all before this")
        finally:
            witness.send_signal(signal.SIGINT)
            witness.wait(20)
    trace = json.loads(shell.ok("trace", live["id"], "--json"))
    shell.ok("trace", live["id"], "--pcap", str(ours))
    messages = [each for each in trace["rungs"] if each["side"] != "gateway"]
    fields = ("frame.time_epoch", "udp.srcport", "sip.Method", "sip.Status-Code", "sip.Call-ID")
    wire = [row for row in tshark(capture, *fields) if row[4] in live["sip_call_ids"]]
    assert len(wire) >= 12
    assert [row[1:] for row in tshark(ours, *fields)] == [row[1:] for row in wire]
    assert tshark(ours, "_ws.malformed") == [[""]] * len(wire)
    labels = [each["label"].split(" ")[0] for each in messages]
    assert labels == [row[2] or row[3] for row in wire]


def _hears(capture: Path, words: bytes) -> bool:
    """Whether a datagram of ours is in the capture already."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(words, ("127.0.0.1", 9))
    return capture.exists() and words in capture.read_bytes()


def test_a_drained_gateway_sends_calls_elsewhere_and_comes_back(exchange: Exchange, shell: Shell) -> None:
    assert "takes no new calls; 0 go on" in shell.ok("drain")
    assert exchange.gateway.get("/readyz")[0] == 503
    with TwoEnds(exchange) as ends:
        ends.call.send()
        assert ends.call.refused()["retry-after"]
    assert "takes new calls" in shell.ok("drain", "--undo")
    assert exchange.gateway.get("/readyz")[0] == 200


def test_waiting_for_calls_has_an_end(exchange: Exchange, shell: Shell) -> None:
    with TwoEnds(exchange) as ends:
        caller, callee = ends.connect()
        done = shell.run("drain", "--timeout", "0.1")
        assert done.returncode == 1
        assert b"1 calls still go on" in done.stderr
        shell.ok("drain", "--undo")
        ends.hang_up(caller, callee)


def test_what_cannot_be_done_says_what_to_do(exchange: Exchange, shell: Shell) -> None:
    assert b"no call nothing" in shell.run("trace", "nothing").stderr
    assert b"needs a key" in shell.run("top", "--once", "--url", "http://127.0.0.1:1").stderr
    refused = shell.run("calls", "list", "--key", "wrong").stderr
    assert b"there is no such key" in refused
    away = shell.run("calls", "list", "--url", "http://127.0.0.1:1", "--key", "any").stderr
    assert b"cannot be reached" in away


def test_the_shell_completes_commands_and_outcomes(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_VOICE_GATEWAY_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "voice-gateway tr")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert "trace" in shell.run().stdout.decode().split()
    monkeypatch.setenv("COMP_WORDS", "voice-gateway calls list --outcome ref")
    monkeypatch.setenv("COMP_CWORD", "4")
    assert "refused" in shell.run().stdout.decode().split()

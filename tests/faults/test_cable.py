"""A slow cable between two hosts that are network namespaces: later, in order, whole; and then as before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.faults.hosts import INSIDE, obstacle

ROOT = Path(__file__).parents[2]
SKIPPED = 77

PROGRAM = """
import os, socket, subprocess, sys, tempfile, time
from pathlib import Path
from loadtests.faults import cable
from loadtests.faults.hosts import Host, Lan

if not cable.possible():
    sys.exit(77)
cable.LOSS = 0.0
lan = Lan()
lan.slowness = "cable"
host = Host(lan, "h1", 11, Path(tempfile.mkdtemp()), "near")
echo = '''
import socket
server = socket.create_server(("10.77.0.11", 7000))
while True:
    peer, _ = server.accept()
    while data := peer.recv(65536):
        peer.sendall(data)
'''
host.runs("echo", [sys.executable, "-c", echo])

def ask(size):
    for _ in range(200):
        try:
            peer = socket.create_connection(("10.77.0.11", 7000), 5)
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    with peer:
        began = time.monotonic()
        sent, heard = os.urandom(size), b""
        peer.sendall(sent)
        while len(heard) < size:
            heard += peer.recv(65536)
        assert heard == sent
        return time.monotonic() - began

ask(10)
host.slow()
slow = min(ask(10), ask(50_000))
host.hasten()
fast = min(ask(10) for _ in range(3))
assert slow >= 2 * cable.DELAY[0], slow
assert fast < slow, (fast, slow)
host.kill()
"""


def test_frames_take_longer_and_arrive_whole() -> None:
    reason = obstacle()
    if reason is not None:
        pytest.skip(reason)
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        [*command, sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", INSIDE: "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == SKIPPED:
        pytest.skip("no TAP devices")
    assert done.returncode == 0, done.stderr

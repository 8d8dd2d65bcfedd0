"""Who of a data directory lives: locks that the kernel lets go of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.continuity.lifeline import Lifelines

HOLD = """
import sys, pathlib
from gateway.continuity.lifeline import Lifelines
line = Lifelines(pathlib.Path(sys.argv[1]), sys.argv[2])
line.hold()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_process_that_was_killed_is_known_to_be_dead(tmp_path: Path):
    mine = Lifelines(tmp_path / "locks", "node:5060/2#me")
    assert mine.dead() == []
    mine.hold()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "locks"), "node:5060/2#other"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert mine.dead() == []
        other.kill()
        other.wait()
    assert mine.dead() == ["node:5060/2#other"]
    mine.bury("node:5060/2#other")
    mine.bury("node:5060/2#other")
    assert mine.dead() == []
    mine.let_go()


def test_other_workers_are_not_ours_to_bury(tmp_path: Path):
    (tmp_path / "node%3A5060%2F1%23a.lock").touch()  # nobody holds it
    assert Lifelines(tmp_path, "node:5060/2#b").dead() == []
    assert Lifelines(tmp_path, "node:5060/1#b").dead() == ["node:5060/1#a"]


def test_a_worker_knows_which_of_its_siblings_have_died(tmp_path: Path):
    first, second = Lifelines(tmp_path, "node:5060/1#a"), Lifelines(tmp_path, "node:5060/2#b")
    first.hold()
    second.hold()
    assert first.dead_siblings() == []
    assert second._held is not None
    second._held.close()  # the kernel does that when it dies
    assert first.dead_siblings() == ["node:5060/2#b"]
    assert first.dead() == []
    first.let_go()


def test_who_ends_in_good_order_leaves_nothing(tmp_path: Path):
    line = Lifelines(tmp_path, "node#a")
    line.hold()
    line.let_go()
    line.let_go()
    assert list(tmp_path.iterdir()) == []


def test_two_cannot_be_one(tmp_path: Path):
    first, second = Lifelines(tmp_path, "node#a"), Lifelines(tmp_path, "node#a")
    first.hold()
    with pytest.raises(OSError, match="temporarily unavailable"):
        second.hold()
    first.let_go()

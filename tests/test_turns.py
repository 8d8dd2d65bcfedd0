"""The event loop does not wait long for a thread that has work of its own."""

from __future__ import annotations

import sys

import pytest

from gateway import turns


def test_a_thread_gives_the_interpreter_back_within_the_work_of_one_message() -> None:
    before = sys.getswitchinterval()
    try:
        turns.shorten()
        assert sys.getswitchinterval() == pytest.approx(turns.TURN_SECONDS)
    finally:
        sys.setswitchinterval(before)

"""The log's thread: nothing that its reader does reaches the caller."""

from __future__ import annotations

import io
import json
import threading

import pytest

from gateway.telemetry import log_writer
from gateway.telemetry.log_writer import LogWriter


class Stalled(io.StringIO):
    """A reader that takes nothing until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.released = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.released.wait(10)
        return super().write(text)


class Broken(io.StringIO):
    """A pipe whose other end is gone for the first write."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = threading.Event()

    def write(self, text: str) -> int:
        if not self.failed.is_set():
            self.failed.set()
            raise BrokenPipeError
        return super().write(text)


def events(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines_come_out_in_order_and_close_waits_for_them() -> None:
    stream = io.StringIO()
    writer = LogWriter(stream, json.dumps)
    for number in range(1000):
        writer.put({"n": number})
    writer.put("a line already")
    writer.close()
    writer.close()
    *lines, last = stream.getvalue().splitlines()
    assert [json.loads(line)["n"] for line in lines] == list(range(1000))
    assert last == "a line already"


def test_a_stalled_reader_costs_lines_and_not_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "MAX_WAITING", 10)
    monkeypatch.setattr(log_writer, "GATHER_SECONDS", 0.0)
    stream = Stalled()
    writer = LogWriter(stream, json.dumps)
    writer.put({"n": "first"})
    assert stream.reached.wait(10)
    for number in range(50):
        writer.put({"n": number})  # returns: nobody waits for the reader
    stream.released.set()
    writer.close()
    seen = events(stream)
    assert [event["n"] for event in seen if "n" in event] == ["first", *range(10)]
    assert {"level": "error", "event": "log lines dropped", "count": 40} in seen


def test_a_reader_that_left_is_reported_when_another_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "GATHER_SECONDS", 0.0)
    stream = Broken()
    writer = LogWriter(stream, json.dumps)
    writer.put({"n": 1})
    assert stream.failed.wait(10)
    writer.put({"n": 2})
    writer.close()
    assert [event.get("n", event.get("count")) for event in events(stream)] == [2, 1]


def test_what_cannot_be_encoded_costs_its_own_line() -> None:
    stream = io.StringIO()
    writer = LogWriter(stream, json.dumps)
    writer.put({"n": object()})
    writer.put({"n": 2})
    writer.close()
    assert [event.get("error", event.get("n")) for event in events(stream)] == ["TypeError", 2]

"""Logs: JSON lines, personal data in fields of its own and maskable."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from gateway.telemetry import logs
from gateway.telemetry.ladder import Message, draw


@pytest.fixture(autouse=True)
def _as_before():
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.root.handlers[:], logging.root.level = handlers, level


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_the_bound_call_id() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    structlog.contextvars.bind_contextvars(call_id="c1")
    structlog.get_logger().info("call ended", outcome="agent", plan=("a", "voicemail"))
    [line] = lines(stream)
    assert line["call_id"] == "c1"
    assert line["plan"] == ["a", "voicemail"]
    assert line["level"] == "info"


def test_masking_hides_numbers_and_texts_but_keeps_calls_apart() -> None:
    stream = io.StringIO()
    logs.configure(mask=True, stream=stream)
    structlog.get_logger().info(
        "x", caller="+14155550123", dialled="", message="call me back", carrier="twilio"
    )
    [line] = lines(stream)
    assert line["caller"] == "***23"
    assert line["dialled"] == ""
    assert line["message"] == "***"
    assert line["carrier"] == "twilio"


def test_without_masking_numbers_stand_in_their_fields() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    structlog.get_logger().info("x", caller="+14155550123")
    assert lines(stream)[0]["caller"] == "+14155550123"


def test_libraries_log_the_same_way() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logging.getLogger("some.library").warning("odd %s", "thing")
    [line] = lines(stream)
    assert line["event"] == "odd thing"


def test_levels_below_the_configured_one_are_not_written() -> None:
    stream = io.StringIO()
    logs.configure(level="error", stream=stream)
    structlog.get_logger().info("quiet")
    assert stream.getvalue() == ""


def test_the_ladder_points_where_messages_went() -> None:
    ladder = draw(
        [Message(5.0, "out", "INVITE"), Message(5.0125, "in", "200 OK")], "here", "there"
    ).splitlines()
    assert ladder[0].split() == ["here", "there"]
    assert ladder[1].lstrip().startswith("0.0") and ladder[1].endswith("▶│")
    assert "12.5" in ladder[2] and "│◀" in ladder[2]
    assert len(ladder[1]) == len(ladder[2]) == len(ladder[0])

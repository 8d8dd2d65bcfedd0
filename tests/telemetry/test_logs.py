"""Logs: JSON lines, personal data in fields of its own and maskable."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from gateway.telemetry import logs
from gateway.telemetry.ladder import Message, draw


class Logs:
    """Logging as a process sets it up; `lines` closes it and reads what came out."""

    def configure(self, **settings: Any) -> None:
        self.stream = io.StringIO()
        self.writer = logs.configure(stream=self.stream, **settings)

    def text(self) -> str:
        self.writer.close()
        return self.stream.getvalue()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def logged() -> Iterator[Logs]:
    handlers, level = logging.root.handlers[:], logging.root.level
    logged = Logs()
    yield logged
    logged.writer.close()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.root.handlers[:], logging.root.level = handlers, level


def test_a_line_is_json_with_the_bound_call_id(logged: Logs) -> None:
    logged.configure()
    structlog.contextvars.bind_contextvars(call_id="c1")
    structlog.get_logger().info("call ended", outcome="agent", plan=("a", "voicemail"))
    [line] = logged.lines()
    assert line["call_id"] == "c1"
    assert line["plan"] == ["a", "voicemail"]
    assert line["level"] == "info"


def test_masking_hides_numbers_and_texts_but_keeps_calls_apart(logged: Logs) -> None:
    logged.configure(mask=True)
    structlog.get_logger().info(
        "x", caller="+14155550123", dialled="", message="call me back", carrier="twilio"
    )
    [line] = logged.lines()
    assert line["caller"] == "***23"
    assert line["dialled"] == ""
    assert line["message"] == "***"
    assert line["carrier"] == "twilio"


def test_without_masking_numbers_stand_in_their_fields(logged: Logs) -> None:
    logged.configure()
    structlog.get_logger().info("x", caller="+14155550123")
    assert logged.lines()[0]["caller"] == "+14155550123"


def test_libraries_log_the_same_way(logged: Logs) -> None:
    logged.configure()
    logging.getLogger("some.library").warning("odd %s", "thing")
    [line] = logged.lines()
    assert line["event"] == "odd thing"


def test_levels_below_the_configured_one_are_not_written(logged: Logs) -> None:
    logged.configure(level="error")
    structlog.get_logger().info("quiet")
    assert logged.text() == ""


def test_numbers_quoted_in_an_error_are_masked_too(logged: Logs) -> None:
    logged.configure(mask=True)
    structlog.get_logger().error("numbers file", detail='n.toml:2: "4155550123" is not E.164')
    assert logged.lines()[0]["detail"] == 'n.toml:2: "***23" is not E.164'


def test_addresses_that_a_mail_server_repeats_are_masked_and_sip_addresses_are_not(logged: Logs) -> None:
    logged.configure(mask=True)
    structlog.get_logger().error(
        "email", error="550 <ada.l+x@example.com>: no such user at sip:bot@a.internal"
    )
    assert logged.lines()[0]["error"] == "550 <***>: no such user at sip:bot@a.internal"


def test_exceptions_and_console_lines_are_text_for_people(logged: Logs) -> None:
    logged.configure(format="console")
    try:
        raise ValueError("odd")
    except ValueError as error:
        structlog.get_logger().error("internal error", where="x", exc_info=error)
    text = logged.text()
    assert "internal error" in text and "where=x" in text and "ValueError: odd" in text


def test_the_ladder_points_where_messages_went() -> None:
    ladder = draw(
        [Message(5.0, "out", "INVITE"), Message(5.0125, "in", "200 OK")], "here", "there"
    ).splitlines()
    assert ladder[0].split() == ["here", "there"]
    assert ladder[1].lstrip().startswith("0.0") and ladder[1].endswith("▶│")
    assert "12.5" in ladder[2] and "│◀" in ladder[2]
    assert len(ladder[1]) == len(ladder[2]) == len(ladder[0])

"""Structured logs: one JSON object a line, personal data in fields of its own, maskable by one setting."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO

import msgspec
import structlog

from gateway.telemetry.log_writer import Event, LogWriter

PERSONAL_FIELDS: Final = frozenset(
    {"caller", "dialled", "number", "phone_number", "message", "digits", "text", "from_", "to"}
)
"""Fields that may hold a phone number or what somebody said. Log messages themselves never do."""

PROSE_FIELDS: Final = ("detail", "error")
"""Fields that quote what was wrong, and with it perhaps a number."""

LONG_NUMBER: Final = re.compile(r"\+?\d{7,}")

MAIL_ADDRESS: Final = re.compile(r"(?<![\w:.+-])[\w.+-]{1,64}@[\w-]+\.[A-Za-z][\w.-]*")
"""As mail servers repeat it in what they answer; what stands in a SIP URI is none."""

KEPT_DIGITS: Final = 2
"""Digits left of a masked value: enough to tell two calls apart, not enough to call back."""

_encoder = msgspec.json.Encoder(enc_hook=str)


def masked(value: object) -> str:
    """A value with all but its last digits hidden; texts vanish whole."""
    text = str(value)
    if not text:
        return ""
    digits = sum(character.isdigit() for character in text)
    return f"***{text[-KEPT_DIGITS:]}" if digits >= 7 and text[-KEPT_DIGITS:].isdigit() else "***"


def mask_personal_data(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Structlog processor: hide personal fields."""
    for key in PERSONAL_FIELDS & event.keys():
        if event[key]:
            event[key] = masked(event[key])
    for key in PROSE_FIELDS:
        if key in event:
            prose = MAIL_ADDRESS.sub("***", str(event[key]))
            event[key] = LONG_NUMBER.sub(lambda match: masked(match[0]), prose)
    return event


def _json(event: Event) -> str:
    return _encoder.encode(event).decode()


class _Logger:
    """What structlog calls with the finished event, one method a level."""

    def __init__(self, writer: LogWriter) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = writer.put


class _LibraryHandler(logging.Handler):
    """Hands the lines of libraries, which use the standard library's logging, to the same writer."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Format now, while what the record refers to is unchanged; write later."""
        self._writer.put(self.format(record))


def configure(
    level: str = "info",
    format: Literal["json", "console"] = "json",
    *,
    mask: bool = False,
    stream: TextIO | None = None,
) -> LogWriter:
    """Set up logging for the process, libraries' too; close the writer that is returned last.

    level: debug, info, warning or error.
    mask: hide personal data.
    stream: standard error unless told otherwise.
    """
    stream = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if mask:
        shared.append(mask_personal_data)
    shared.append(structlog.processors.format_exc_info)
    console = structlog.dev.ConsoleRenderer(colors=stream.isatty())
    render = _json if format == "json" else lambda event: str(console(None, "", event))
    writer = LogWriter(stream, render)
    structlog.configure(
        processors=[*shared, lambda _logger, _method, event: ((event,), {})],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Logger(writer),
        cache_logger_on_first_use=False,
    )
    handler = _LibraryHandler(writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                lambda _logger, _method, event: render(event),
            ],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    return writer

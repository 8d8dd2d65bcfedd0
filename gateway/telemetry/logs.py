"""Structured logs: one JSON object a line, personal data in fields of its own, maskable by one setting."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO

import msgspec
import structlog

PERSONAL_FIELDS: Final = frozenset(
    {"caller", "dialled", "number", "phone_number", "message", "digits", "text", "from_", "to"}
)
"""Fields that may hold a phone number or what somebody said. Log messages themselves never do."""

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
    return event


def _render_json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    return _encoder.encode(event).decode()


def configure(
    level: str = "info",
    format: Literal["json", "console"] = "json",
    *,
    mask: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Set up logging for the process; libraries' log lines come out the same way.

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
    final: structlog.types.Processor = (
        _render_json if format == "json" else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    structlog.configure(
        processors=[*shared, final],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, final],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)

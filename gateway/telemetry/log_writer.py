"""Writes log lines in a thread of its own: a stalled reader of our standard error must not stop calls."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, MutableMapping
from typing import Any, Final, TextIO, TypeAlias

Event: TypeAlias = MutableMapping[str, Any]

MAX_WAITING: Final = 20_000
"""Lines that wait for a slow reader, some 10 MB; what comes after is counted instead."""

GATHER_SECONDS: Final = 0.05
"""After the first line of a batch: the thread takes the interpreter from the event loop twenty times a second
at most, not once a line. `kill -9` loses the lines of that long."""

CLOSE_SECONDS: Final = 2.0
"""For the last lines to be written, if somebody reads them at all."""


class LogWriter:
    """Encodes and writes log events; `put` neither blocks nor raises.

    stream: where the lines go.
    render: an event as one line of text, without the newline; runs in the thread.
    """

    def __init__(self, stream: TextIO, render: Callable[[Event], str]) -> None:
        self._stream = stream
        self._render = render
        self._waiting: queue.SimpleQueue[Event | str | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, line: Event | str) -> None:
        """Have an event, or text that is a line already, written soon."""
        if self._waiting.qsize() < MAX_WAITING:
            self._waiting.put(line)
        else:
            self._lost += 1

    def close(self) -> None:
        """Write what waits, and end. Bounded by `CLOSE_SECONDS`; idempotent."""
        self._closing.set()
        self._waiting.put(None)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            self._closing.wait(GATHER_SECONDS)
            self._write([first, *self._rest()])

    def _rest(self) -> list[Event | str]:
        lines: list[Event | str] = []
        try:
            while len(lines) < MAX_WAITING:
                line = self._waiting.get_nowait()
                if line is None:
                    self._waiting.put(None)  # for the loop above to find
                    break
                lines.append(line)
        except queue.Empty:
            pass
        return lines

    def _write(self, lines: list[Event | str]) -> None:
        if self._lost:
            # Two threads count here; a line more or less in such a flood is nobody's concern.
            lines.append({"level": "error", "event": "log lines dropped", "count": self._lost})
            self._lost = 0
        text = "".join(f"{self._text(line)}\n" for line in lines)
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._lost += len(lines)  # nobody reads us any more; calls go on

    def _text(self, line: Event | str) -> str:
        if isinstance(line, str):
            return line
        try:
            return self._render(line)
        except Exception as error:  # a value that cannot be encoded costs its own line, not the thread
            return f'{{"level":"error","event":"log line not encodable","error":"{type(error).__name__}"}}'

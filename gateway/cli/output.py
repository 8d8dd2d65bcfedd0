"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_json(value: Any) -> None:
    """A value as JSON, indented for reading."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_list(
    items: Sequence[Any],
    columns: Sequence[str],
    row: Callable[[Any], Sequence[object]],
    *,
    caption: str = "",
    as_json: bool,
) -> None:
    """Things of one kind: a row for each, or all of them as `{"items": […]}`."""
    if as_json:
        print_json({"items": items})
    else:
        print_table(columns, map(row, items), caption=caption)


def print_one(thing: Any, fields: Callable[[Any], Iterable[tuple[str, object]]], *, as_json: bool) -> None:
    """One thing: a line for each field that it has, or as JSON."""
    if as_json:
        print_json(thing)
    else:
        print_fields(fields(thing))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "") -> None:
    """Rows under columns; an empty cell for None."""
    table = Table(box=None, pad_edge=False, caption=caption or None, caption_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    console().print(table)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """One thing, a line for each field that it has."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in fields:
        if value is not None:
            table.add_row(f"[dim]{name}[/dim]", escape(str(value)))
    console().print(table)


def say(text: str) -> None:
    """A line for people, on stdout."""
    console().print(escape(text))


def complain(text: str) -> None:
    """A line for people, on stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(escape(text))


def console() -> Console:
    """Where people read; as wide as it takes when it is no terminal."""
    wide = None if sys.stdout.isatty() else 200
    return Console(highlight=False, width=wide)

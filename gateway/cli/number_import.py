"""`voice-gateway numbers import`: many numbers, a thousand a request, each fault told by its line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli.api_client import ApiClient, Refused
from gateway.cli.number_files import Item, LineFault, NumberSource

BATCH: Final = 1_000
"""Numbers in one request: as many as the API takes."""

MAX_TOLD: Final = 1_000
"""Faults kept to be told; of more there is a count."""

COUNTS: Final = ("created", "updated", "unchanged", "skipped", "failed")


class NumberImport:
    """One import, and how far it came.

    Args:
        source: what is imported.
        on_conflict: `error`, `skip` or `update`; dry_run: only tell.

    """

    def __init__(self, source: NumberSource, *, on_conflict: str, dry_run: bool) -> None:
        self._source = source
        self._on_conflict = on_conflict
        self._dry_run = dry_run
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
        self.faults: list[dict[str, Any]] = []

    @property
    def done(self) -> int:
        """Numbers that were dealt with."""
        return sum(self.counts[name] for name in COUNTS)

    async def run(self, api: ApiClient) -> None:
        """Import agents, then numbers. Raises UsageError."""
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        ) as progress:
            task = progress.add_task("numbers", total=self._source.count)
            await self._agents(api)
            lines = self._source.read()
            while batch := self._batch(lines):
                await self._send(api, batch)
                progress.update(task, completed=self.done)

    def result(self) -> dict[str, Any]:
        """For programs."""
        return {**{name: self.counts[name] for name in COUNTS}, "errors": self.faults}

    def summary(self) -> str:
        """For people."""
        told = [f"{self.counts[name]} {name}" for name in COUNTS if self.counts[name]]
        return f"{'would be: ' if self._dry_run else ''}{', '.join(told) or 'nothing to import'}"

    async def _agents(self, api: ApiClient) -> None:
        """Create agents that are not there; those that differ are changed if that was asked for."""
        if not self._source.agents or self._dry_run:
            return
        present = {each["id"] for each in await api.all("/agents")}
        for agent in self._source.agents:
            if agent["id"] not in present:
                await api.request("POST", "/agents", agent)
            elif self._on_conflict == "update":
                changed = {name: value for name, value in agent.items() if name != "id"}
                await api.request("PATCH", f"/agents/{agent['id']}", changed)

    def _batch(self, lines: Iterator[Item | LineFault]) -> list[Item]:
        """The next numbers to send; lines that are wrong in themselves are told on the way."""
        batch: list[Item] = []
        while not batch:
            taken = list(islice(lines, BATCH))
            if not taken:
                break
            batch = [each for each in taken if isinstance(each, Item)]
            for each in taken:
                if isinstance(each, LineFault):
                    self.counts["failed"] += 1
                    self._tell(each.line, each.field, each.detail, each.fix)
        return batch

    async def _send(self, api: ApiClient, batch: list[Item]) -> None:
        body = {
            "items": [item.body for item in batch],
            "on_conflict": self._on_conflict,
            "dry_run": self._dry_run,
        }
        try:
            result = await api.request("POST", "/phone-numbers/import", body)
        except Refused as refusal:
            if refusal.status != 413 or len(batch) == 1:
                raise
            middle = len(batch) // 2  # long messages: fewer of them at once
            await self._send(api, batch[:middle])
            await self._send(api, batch[middle:])
            return
        self.counts.update({name: result[name] for name in COUNTS})
        for error in result["errors"]:
            self._tell(batch[error["index"]].line, error["field"], error["detail"], error["fix"])

    def _tell(self, line: int, field: str, detail: str, fix: str) -> None:
        if len(self.faults) < MAX_TOLD:
            self.faults.append({"line": line, "field": field, "detail": detail, "fix": fix})

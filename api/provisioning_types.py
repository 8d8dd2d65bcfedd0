"""What is remembered of a number at its carrier: the steps, when each was done, and what the carrier said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from api.types import ProvisioningStep, StepName, StepStatus

State: TypeAlias = Literal["buying", "wiring", "releasing"]

TAKES_CALLS: Final = (None, "wiring")
"""Values of `NumberRow.provisioning` with which a number is routed."""

BOUGHT_AND_WIRED: Final[Sequence[StepName]] = (
    "purchase",
    "trunk",
    "origination",
    "attachment",
    "permissions",
)
BOUGHT: Final[Sequence[StepName]] = ("purchase",)
"""At a carrier where nothing is to be wired."""

RELEASED: Final[Sequence[StepName]] = ("release",)

MAX_WORDS: Final = 500
"""Characters of what a carrier said that are kept."""


class Progress(Struct, omit_defaults=True):
    """How far a number is.

    identity: the carrier's of the number, once that is bought; trunk_id: of what its calls come from.
    asked_at: when the carrier was asked to sell it, seconds since the epoch.
    empty_looks: times that it was looked for since, and was on offer still.
    attempts: since it last went on; leased: somebody is at it, until the row's `due_at`.
    """

    steps: list[ProvisioningStep] = []
    identity: str | None = None
    trunk_id: str | None = None
    asked_at: float | None = None
    empty_looks: int = 0
    attempts: int = 0
    leased: bool = False

    def is_done(self, name: StepName) -> bool:
        """Whether a step is behind us."""
        return any(step.step == name and step.status == "done" for step in self.steps)

    def begin(self, name: StepName, now: str) -> None:
        """A step is being made; those before it are done."""
        for index, step in enumerate(self.steps):
            if step.step == name:
                if step.status != "done":
                    self.steps[index] = msgspec.structs.replace(
                        step, status="running", started_at=step.started_at or now, error=None
                    )
                return
            if step.status != "done":
                self.steps[index] = _ended(step, now)

    def finish(self, now: str, note: str | None = None) -> None:
        """Every step that has begun is done; note: on the last of them."""
        begun = [index for index, step in enumerate(self.steps) if step.started_at is not None]
        for index in begun:
            step = self.steps[index]
            if step.status != "done":
                self.steps[index] = _ended(step, now, note if index == begun[-1] else None)
        self.attempts = 0

    def stop(self, status: StepStatus, words: str) -> None:
        """The step that has begun last stands still: it waits for the carrier, or has failed for now."""
        for index, step in enumerate(self.steps):
            if step.status in {"running", "pending", "failed"}:
                self.steps[index] = msgspec.structs.replace(step, status=status, error=words[:MAX_WORDS])
                return


def _ended(step: ProvisioningStep, now: str, note: str | None = None) -> ProvisioningStep:
    return msgspec.structs.replace(
        step, status="done", started_at=step.started_at or now, finished_at=now, error=None, note=note
    )


_decoder: Final = msgspec.json.Decoder(Progress)


def begun(names: Sequence[StepName], now: str, *, asked_at: float | None = None) -> Progress:
    """The steps of something that begins now with the first of them."""
    progress = Progress([ProvisioningStep(step=name) for name in names], asked_at=asked_at, leased=True)
    progress.begin(names[0], now)
    return progress


def read(progress: str | None) -> Progress:
    """Of a row."""
    return Progress() if progress is None else _decoder.decode(progress)


def written(progress: Progress) -> str:
    """For a row."""
    return msgspec.json.encode(progress).decode()

"""Everything that fuzzing has found worth keeping is replayed, and mutated a little."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, mutated

CORPUS = Path(__file__).parents[1] / "data" / "fuzz"
MUTATIONS = 150


def test_every_target_has_a_corpus() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_corpus_is_survived_and_so_is_what_resembles_it(name: str) -> None:
    inputs = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    assert inputs
    for data in inputs:
        TARGETS[name](data)
    dice = random.Random(name)
    for _ in range(MUTATIONS):
        data = mutated(dice.choice(inputs), dice.choice(inputs), dice)
        try:
            TARGETS[name](data)
        except Exception as error:
            raise AssertionError(f"{name}: {data!r}") from error

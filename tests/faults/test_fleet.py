"""A small fleet on virtual time: what the page about scale says of thousands must hold for a dozen."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.fleet import size
from loadtests.fleet.fleet import Outcome, Scale, at, simulate
from routing.share import LIFETIME

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return simulate(Scale(nodes=12, agents=3, places=30, talk=8.0, changes=2.0, deaths=2, seconds=40.0))


def test_changes_reach_every_gateway(outcome: Outcome) -> None:
    assert at(outcome.propagation, 0.99) < 1.0
    assert outcome.stale == 0
    assert outcome.late  # what was changed during the cut came after it


def test_an_agent_has_no_more_calls_than_the_documented_bound(outcome: Outcome) -> None:
    assert outcome.oversold_in_cut <= outcome.bound + outcome.oversold_in_peace + 1 / 30
    assert outcome.oversold_in_peace <= 0.1
    assert outcome.calls["agent"] > 100
    assert outcome.calls["voicemail"] > 0  # there was more to take than places


def test_dead_gateways_give_their_places_back(outcome: Outcome) -> None:
    assert 0 < outcome.released <= LIFETIME


def test_a_seed_is_a_simulation() -> None:
    scale = Scale(nodes=6, agents=2, places=10, talk=4.0, deaths=1, seconds=12.0)
    first, second = simulate(scale), simulate(scale)
    assert (first.calls, first.commands, first.propagation) == (
        second.calls,
        second.commands,
        second.propagation,
    )


def test_the_page_says_what_the_calculator_says() -> None:
    assert size.table(size.Costs()) in PAGE.read_text()

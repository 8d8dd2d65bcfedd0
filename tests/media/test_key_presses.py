from __future__ import annotations

import pytest

from gateway.media.key_presses import EVENT, INFO, MAX_RECENT, SAME_PRESS, TONE, KeyPresses


def reported(*news: tuple[str, str, float]) -> str:
    presses = KeyPresses()
    return "".join(key for key, way, at in news if presses.is_new(key, way, at))


@pytest.mark.parametrize(("first", "second"), [(EVENT, TONE), (TONE, EVENT), (EVENT, INFO), (INFO, TONE)])
def test_a_press_that_comes_by_two_ways_is_one(first: str, second: str) -> None:
    assert reported(("5", first, 0.0), ("5", second, 0.3)) == "5"
    assert reported(("5", first, 0.0), ("5", second, SAME_PRESS + 0.1)) == "55"


def test_by_all_three_ways() -> None:
    assert reported(("5", EVENT, 0.0), ("5", TONE, 0.1), ("5", INFO, 0.2)) == "5"


def test_by_one_way_every_report_is_a_press() -> None:
    assert reported(("1", EVENT, 0.0), ("1", EVENT, 0.1), ("1", EVENT, 0.2)) == "111"


def test_the_same_key_twice_and_quickly_by_two_ways() -> None:
    assert reported(("1", EVENT, 0.0), ("1", TONE, 0.1), ("1", EVENT, 0.25), ("1", TONE, 0.35)) == "11"
    assert reported(("1", EVENT, 0.0), ("1", EVENT, 0.2), ("1", TONE, 0.3), ("1", TONE, 0.5)) == "11"


def test_other_keys_are_other_presses() -> None:
    assert reported(("1", EVENT, 0.0), ("2", TONE, 0.1), ("1", TONE, 0.15), ("2", EVENT, 0.2)) == "12"


def test_a_flood_is_forgotten() -> None:
    presses = KeyPresses()
    for _ in range(10 * MAX_RECENT):
        presses.is_new("1", EVENT, 0.0)
    assert len(presses._recent) == MAX_RECENT

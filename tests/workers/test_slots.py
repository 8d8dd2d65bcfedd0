from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gateway.workers.slots import MAX_SLOTS, NoSlotLeft, claim, handover_socket, run_directory, web_socket


def test_the_lowest_slots_that_are_free_are_taken(tmp_path: Path) -> None:
    first = claim(tmp_path / "run", 2)
    second = claim(tmp_path / "run", 2)
    assert (first.slots, first.others) == ((1, 2), ())
    assert (second.slots, second.others) == ((3, 4), (1, 2))
    first.give_back()
    third = claim(tmp_path / "run", 3)
    assert (third.slots, third.others) == ((1, 2, 5), (3, 4))
    second.give_back()
    third.give_back()


def test_there_is_an_end_to_slots(tmp_path: Path) -> None:
    all_of_them = claim(tmp_path / "run", MAX_SLOTS)
    with pytest.raises(NoSlotLeft, match="64 workers run on"):
        claim(tmp_path / "run", 1)
    all_of_them.give_back()


def test_nobody_else_may_look_into_the_directory(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)
    claim(tmp_path / "run", 1).give_back()
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700


def test_a_long_path_gets_a_short_directory(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 80)
    assert run_directory(tmp_path / "d").parent.name == "d" or len(str(tmp_path)) > 60
    assert len(str(handover_socket(run_directory(deep), MAX_SLOTS))) < 107
    assert run_directory(deep) == run_directory(deep)
    assert web_socket(Path("/run"), 0) != web_socket(Path("/run"), 1)

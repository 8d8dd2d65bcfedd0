"""Variables in voicemail messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.message_variables import VARIABLES, faults, filled, names

VALUES = {"caller": "4 1 5", "dialled": "2 1 2", "agent": "Sales"}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Nobody is here.", "Nobody is here."),
        ("{{agent}} missed {{ caller }}.", "Sales missed 4 1 5."),
        ("{{dialled}}{{dialled}}", "2 1 22 1 2"),
        ("An {agent} in single braces.", "An {agent} in single braces."),
        ("{{future}} is passed over.", " is passed over."),
    ],
)
def test_values_stand_in_place_of_variables(message: str, said: str) -> None:
    assert filled(message, VALUES) == said


def test_which_variables_a_message_has() -> None:
    assert names("{{agent}} and {{caller}}") == {"agent", "caller"}
    assert names("none at all") == frozenset()


@pytest.mark.parametrize(
    ("message", "fault", "fix"),
    [
        ("{{callr}}", "{{callr}} is no variable", "did you mean {{caller}}?"),
        ("{{name}}", "{{name}} is no variable", "there are {{caller}}, {{dialled}}, {{agent}}"),
        ("{{}}", "{{}} is no variable", "there are"),
        ("from {{caller", "a variable is not closed", "write }}"),
    ],
)
def test_what_is_no_variable_is_named(message: str, fault: str, fix: str) -> None:
    [(told, hint)] = faults(message)
    assert told == fault
    assert hint.startswith(fix)


@given(st.text(alphabet="{}acelrdig nt", max_size=60))
def test_a_message_without_faults_says_nothing_in_braces(message: str) -> None:
    if not list(faults(message)):
        assert "{{" not in filled(message, dict.fromkeys(VARIABLES, "x"))

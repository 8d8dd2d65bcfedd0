"""The threat model names every cap with the value that the code has."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "threat-model.md"
ROW = re.compile(r"\| `([\w.]+)\.([A-Z_]+)` \| (\d+) \|")


@pytest.mark.parametrize(("module", "constant", "value"), ROW.findall(PAGE.read_text()))
def test_caps_are_what_the_page_says(module: str, constant: str, value: str) -> None:
    assert getattr(importlib.import_module(module), constant) == int(value)


def test_the_page_has_a_table() -> None:
    assert len(ROW.findall(PAGE.read_text())) > 20

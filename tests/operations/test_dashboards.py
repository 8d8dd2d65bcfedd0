"""The dashboards' files are what the script says; a real Prometheus answers them in `tests/e2e/test_dashboards.py`."""

from __future__ import annotations

import json

import pytest

from scripts import generate_dashboards


@pytest.mark.parametrize("name", sorted(generate_dashboards.DASHBOARDS))
def test_files_are_up_to_date(name: str) -> None:
    text = generate_dashboards.to_json(generate_dashboards.DASHBOARDS[name])
    assert (generate_dashboards.DIRECTORY / name).read_text() == text, "run scripts/generate_dashboards.py"


def test_every_file_is_a_dashboard_of_ours() -> None:
    assert {path.name for path in generate_dashboards.DIRECTORY.glob("*.json")} == set(
        generate_dashboards.DASHBOARDS
    )


@pytest.mark.parametrize("name", sorted(generate_dashboards.DASHBOARDS))
def test_panels_explain_themselves_and_do_not_overlap(name: str) -> None:
    page = json.loads((generate_dashboards.DIRECTORY / name).read_text())
    taken: set[tuple[int, int]] = set()
    for panel in page["panels"]:
        assert panel["description"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= generate_dashboards.COLUMNS
        taken |= cells

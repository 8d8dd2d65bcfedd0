"""Alerts fire when they should and stay quiet when they should; each has a section that says what to do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.sipp import require

ROOT = Path(__file__).parent.parent.parent
CONFIGS = ROOT / "configs" / "prometheus"
PAGE = (ROOT / "docs" / "alerts.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text()
CASES = ("alerts.test.yml", "alerts.days.test.yml")


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((CONFIGS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


NAMES = [rule["alert"] for rule in alerts()]


def promtool(*arguments: str) -> None:
    run = subprocess.run(
        [require("promtool"), *arguments], cwd=CONFIGS, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_promtool_accepts_the_configuration_and_its_rules() -> None:
    promtool("check", "config", "prometheus.yml")


@pytest.mark.parametrize("cases", CASES)
def test_alerts_fire_and_stay_quiet(cases: str) -> None:
    promtool("test", "rules", cases)


def test_each_alert_is_tested_both_ways() -> None:
    expected: dict[str, set[bool]] = {name: set() for name in NAMES}
    for cases in CASES:
        for test in yaml.safe_load((CONFIGS / cases).read_text())["tests"]:
            for each in test.get("promql_expr_test", ()):
                name = re.search(r'alertname="(\w+)"', each["expr"])
                assert name is not None
                expected[name[1]].add(bool(each["exp_samples"]))
    assert {name for name, ways in expected.items() if ways != {True, False}} == set()


@pytest.mark.parametrize("rule", alerts(), ids=NAMES)
def test_each_alert_leads_to_its_section(rule: dict[str, Any]) -> None:
    name, severity = rule["alert"], rule["labels"]["severity"]
    assert rule["annotations"]["runbook_url"] == "{{ $externalLabels.runbooks }}#" + name.lower()
    section = re.search(rf"^## {name}\n\n\*(\w+)\.\* \S", PAGE, re.MULTILINE)
    assert section is not None, f"docs/alerts.md has no section {name} that begins with its severity"
    assert section[1] == severity
    assert {"summary", "description"} <= rule["annotations"].keys()


def test_no_section_is_about_an_alert_that_is_gone() -> None:
    assert re.findall(r"^## (\w+)$", PAGE, re.MULTILINE) == NAMES


@pytest.mark.parametrize("file", ["alerts.yml", "recording.yml"])
def test_rules_ask_for_metrics_that_there_are(file: str) -> None:
    asked = set(re.findall(r"\b(?:gateway|routing|api)_\w+", (CONFIGS / file).read_text()))
    known = set(re.findall(r"^\| `(\w+)`", METRICS, re.MULTILINE))
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked} <= known


def test_where_sections_are_served_is_said_once() -> None:
    labels = yaml.safe_load((CONFIGS / "prometheus.yml").read_text())["global"]["external_labels"]
    assert labels["runbooks"].startswith("https://")

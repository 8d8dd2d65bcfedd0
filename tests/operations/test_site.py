"""The site of the documentation: every link and anchor leads somewhere, nothing comes from another server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LOADED = re.compile(r'<(?:script|img|link|iframe)\b[^>]*?(?:src|href)="(https?://[^"]+|//[^"]+)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make site` does; a warning fails it."""
    directory = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--site-dir", directory],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return directory


def test_every_page_is_there(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix("")
        built = site / (name.parent if name.name == "index" else name) / "index.html"
        assert built.exists(), page


def test_alerts_lead_to_their_sections(site: Path) -> None:
    anchors = set(re.findall(r'<h2 id="([\w-]+)"', (site / "alerts" / "index.html").read_text()))
    names = re.findall(r"alert: (\w+)", (ROOT / "configs" / "prometheus" / "alerts.yml").read_text())
    assert {name.lower() for name in names} <= anchors


def test_a_reader_needs_no_other_server(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not LOADED.findall(page.read_text()), page


def test_links_out_of_the_pages_become_names(site: Path) -> None:
    text = (site / "agents" / "index.html").read_text()
    assert "examples/README.md" in text
    assert 'href="../examples' not in text

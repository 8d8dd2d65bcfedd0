"""`voice-gateway check` puts something into the store of recordings, and takes it away again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.cli.check import Finding, _storage
from gateway.config import Data, Settings, Storage


def found(directory: Path, url: str = "") -> Finding:
    settings = Settings(data=Data(dir=directory), storage=Storage(url=url))
    [finding] = asyncio.run(_storage(settings))
    return finding


def test_a_directory_that_can_be_used(tmp_path: Path) -> None:
    finding = found(tmp_path, f"file://{tmp_path}/elsewhere")
    assert finding == Finding("storage.url", True, f"{tmp_path}/elsewhere keeps, gives, lists and deletes")
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]


def test_a_directory_that_cannot(tmp_path: Path) -> None:
    (tmp_path / "recordings").write_text("a file where a directory should be")
    finding = found(tmp_path)
    assert not finding.passed
    assert "recordings" in finding.text
    assert finding.fix


def test_a_service_that_is_not_there(tmp_path: Path) -> None:
    finding = found(tmp_path, "s3://bucket/calls?endpoint=http://127.0.0.1:9&region=eu")
    assert not finding.passed
    assert "bucket" in finding.text

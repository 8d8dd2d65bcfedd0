"""`voice-gateway check` asks each rtpengine."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.cli import check
from gateway.config import Media
from gateway.media.rtpengine import EngineAddress
from tests.rtpengine import RtpEngineDaemon


class _Settings:
    def __init__(self, media: Media) -> None:
        self.media = media


async def test_an_instance_answers_and_one_that_is_gone_has_a_fix(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(check, "PROBE_SECONDS", 0.5)
    daemon = RtpEngineDaemon(tmp_path)
    gone = await check._relay(EngineAddress.parse(daemon.name))
    assert not gone.passed and "--listen-ng" in gone.fix
    assert await check._relays(_Settings(Media())) == []  # type: ignore[arg-type]


def test_an_instance_that_answers(tmp_path: Path):
    with RtpEngineDaemon(tmp_path) as daemon:
        settings = _Settings(Media(engine="rtpengine", rtpengine=(daemon.name,)))
        (found,) = asyncio.run(check._relays(settings))  # type: ignore[arg-type]
    assert found.passed and daemon.name in found.text

"""What `voice-gateway check` says of certificates and of accounts at carriers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.cli import check
from gateway.config import Settings
from tests.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def settings(**sip: Any) -> Settings:
    return Settings(sip=sip)  # type: ignore[arg-type]


async def test_without_tls_there_is_nothing_to_say() -> None:
    assert await check._certificate(settings()) == []


@pytest.mark.parametrize(
    ("names", "days", "host", "says"),
    [
        (("voice.example.com",), 90, "voice.example.com", None),
        (("*.example.com",), 90, "Voice.example.com", None),
        (("192.0.2.1",), 90, "192.0.2.1", None),
        (("voice.example.com",), 90, "", None),
        (("voice.example.com",), 90, "other.example.com", "not for sip.advertised_host"),
        (("*.example.com",), 90, "a.voice.example.com", "not for sip.advertised_host"),
        (("voice.example.com",), 5, "voice.example.com", "days left"),
        (("voice.example.com",), -2, "voice.example.com", "expired"),
    ],
)
async def test_dates_and_names(
    authority: Authority, names: tuple[str, ...], days: int, host: str, says: str | None
) -> None:
    file = authority.issue(*names, days=days, file="own.pem")
    (finding,) = await check._certificate(settings(tls_certificate=file, advertised_host=host))
    assert finding.passed == (says is None)
    assert names[0] in finding.text
    assert "valid from" in finding.text
    if says is not None:
        assert says in finding.text
        assert finding.fix


async def test_a_file_that_is_none(tmp_path: Path) -> None:
    (finding,) = await check._certificate(settings(tls_certificate=tmp_path / "none.pem"))
    assert not finding.passed
    assert "No such file" in finding.text


async def test_certificate_names_without_an_authority_are_told(tmp_path: Path) -> None:
    file = tmp_path / "carriers.toml"
    file.write_text('[[trunk]]\nname = "pbx"\ncertificate_names = ["pbx.example.com"]\n')
    (finding,) = await check._carriers(Settings(admission={"carriers_files": [str(file)]}))  # type: ignore[arg-type]
    assert not finding.passed
    assert "sip.tls_client_ca" in finding.fix


async def test_a_registrar_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    file = tmp_path / "carriers.toml"
    account = '{ registrar = "sip:127.0.0.1:9;transport=tcp", username = "office", password = "secret-word" }'
    file.write_text(f'[[trunk]]\nname = "telnyx"\nregistration = {account}\n')
    (finding,) = await check._registrations(Settings(admission={"carriers_files": [str(file)]}))  # type: ignore[arg-type]
    assert not finding.passed
    assert "telnyx at sip:127.0.0.1:9" in finding.text
    assert "secret-word" not in finding.text + finding.fix

"""Certificates: read whole or not at all, and again when their files change."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest

from gateway import certificates
from gateway.certificates import CertificateError, Certificates
from gateway.config import Settings
from tests.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def configured(**sip: object) -> Settings:
    return Settings(sip=sip)  # type: ignore[arg-type]


def nobody(peer: str, reason: str) -> None:
    raise AssertionError((peer, reason))


async def test_without_a_certificate_we_connect_and_nobody_connects_to_us() -> None:
    found = await Certificates.load(configured(), nobody)
    assert found.certificate is None
    assert found.tls.server is None
    assert found.tls.client.verify_mode is ssl.CERT_REQUIRED


async def test_what_is_said_of_a_certificate(authority: Authority) -> None:
    file = authority.issue("sip.example.com", "192.0.2.1", days=10)
    found = await Certificates.load(configured(tls_certificate=file), nobody)
    assert found.certificate is not None
    assert found.certificate.names == ("sip.example.com", "192.0.2.1")
    assert 9.9 < found.certificate.seconds_left / 86_400 < 10.1
    for context in (found.tls.server, found.tls.client):
        assert context is not None
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert found.tls.server.verify_mode is ssl.CERT_NONE  # type: ignore[union-attr]


async def test_carriers_are_asked_for_a_certificate_where_somebody_vouches_for_them(
    authority: Authority,
) -> None:
    file = authority.issue("sip.example.com")
    found = await Certificates.load(configured(tls_certificate=file, tls_client_ca=authority.file), nobody)
    assert found.tls.server is not None
    assert found.tls.server.verify_mode is ssl.CERT_OPTIONAL


async def test_each_fault_names_key_and_file(authority: Authority, tmp_path: Path) -> None:
    file = authority.issue("sip.example.com")
    other = authority.issue("other.example.com")
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    gone = tmp_path / "gone.pem"
    for settings, says in (
        ({"tls_certificate": gone}, f"sip.tls_certificate: {gone}: No such file"),
        ({"tls_certificate": text}, f"sip.tls_certificate: {text}: no certificate in PEM"),
        ({"tls_certificate": file, "tls_key": other}, f"sip.tls_key: {other}: the key is not that of"),
        ({"tls_certificate": file, "tls_key": text}, f"sip.tls_key: {text}: not usable"),
        ({"tls_certificate": authority.file}, f"sip.tls_certificate: {authority.file}: not usable"),
        ({"tls_certificate": file, "tls_client_ca": text}, f"sip.tls_client_ca: {text}: not usable"),
    ):
        with pytest.raises(CertificateError) as fault:
            await Certificates.load(configured(**settings), nobody)
        assert str(fault.value).startswith(says)


async def test_a_changed_file_is_read_and_a_broken_one_changes_nothing(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(certificates, "SETTLE_SECONDS", 0.0)
    file = tmp_path / "live.pem"
    shutil.copy(authority.issue("one.example.com"), file)
    found = await Certificates.load(configured(tls_certificate=file), nobody)
    told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    found.on_reloaded = lambda result, why: told.put_nowait((result, why))
    watching = asyncio.create_task(found.watch())
    try:
        async with asyncio.timeout(5):
            before = found.tls.server
            file.write_text("half a certifi")
            result, why = await told.get()
            assert result == "failed"
            assert "no certificate in PEM" in why
            assert found.tls.server is before
            shutil.copy(authority.issue("two.example.com"), file)
            assert await told.get() == ("loaded", "")
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert found.tls.server is not before
    assert found.certificate is not None
    assert found.certificate.names == ("two.example.com",)
    assert told.empty()

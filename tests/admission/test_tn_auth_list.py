"""TNAuthLists as authorities write them, and as nobody should."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission.passport import IdentityError, Passport
from gateway.admission.tn_auth_list import TN_AUTH_LIST, covers, speaks_for
from tests.admission.test_caller_verification import NOW, SIGNER_KEY, identity

NUMBER = "14155550123"


def value(tag: int, contents: bytes) -> bytes:
    length = bytes([len(contents)]) if len(contents) < 0x80 else b"\x82" + len(contents).to_bytes(2)
    return bytes([tag]) + length + contents


def text(said: str) -> bytes:
    return value(0x16, said.encode())


def provider(code: str) -> bytes:
    return value(0xA0, text(code))


def numbers(start: str, count: int) -> bytes:
    return value(0xA1, value(0x30, text(start) + value(0x02, count.to_bytes(4))))


def one(number: str) -> bytes:
    return value(0xA2, text(number))


def listed(*entries: bytes) -> bytes:
    return value(0x30, b"".join(entries))


def certificate(extension: bytes | None) -> x509.Certificate:
    name = x509.Name([])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(SIGNER_KEY.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(NOW + timedelta(days=30))
    )
    if extension is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(TN_AUTH_LIST, extension), critical=False)
    return builder.sign(SIGNER_KEY, hashes.SHA256())


@pytest.mark.parametrize(
    ("der", "expected"),
    [
        (listed(one(NUMBER)), True),
        (listed(one("14155550124")), False),
        (listed(*(one(f"1415555{last:04}") for last in range(200))), True),  # lengths of two bytes
        (listed(numbers("14155550123", 2)), True),
        (listed(numbers("14155550100", 24)), True),
        (listed(numbers("14155550100", 23)), False),
        (listed(numbers("14155550124", 10)), False),
        (listed(numbers("1415555012", 10)), False),
        (listed(numbers("*21", 10)), False),
        (listed(one("15550000000"), numbers("14155550100", 100)), True),
        (listed(provider("709J")), True),
        (listed(), False),
        (b"", False),
        (listed(value(0xA3, text(NUMBER))), False),
        (listed(value(0xA1, value(0x30, text(NUMBER)))), False),
        (listed(one(NUMBER)) + b"\x00", False),
        (listed(one(NUMBER), b"\xa2"), False),
        (listed(one(NUMBER))[:-1], False),
        (b"\x30\x80", False),
        (b"\x30\x84\x00", False),
    ],
)
def test_covers(der: bytes, expected: bool) -> None:
    assert covers(der, NUMBER) is expected


def test_a_range_holds_numbers_only() -> None:
    assert not covers(listed(numbers("14155550100", 100)), "sip:anna@example.org")


@given(st.binary(max_size=60), st.text(max_size=15))
def test_reads_anything(der: bytes, number: str) -> None:
    assert covers(der, number) in (True, False)


def test_a_certificate_without_the_list_speaks_for_all() -> None:
    assert speaks_for(certificate(None), NUMBER)


@pytest.mark.parametrize(("number", "believed"), [(NUMBER, True), ("14155550124", False)])
def test_a_passport_for_a_number_that_is_not_the_signers_is_not_believed(number: str, believed: bool) -> None:
    signer = certificate(listed(one(number)))
    passport = Passport.parse(identity(SIGNER_KEY))
    if believed:
        passport.verify([signer], [signer], NOW)
    else:
        with pytest.raises(IdentityError, match="437"):
            passport.verify([signer], [signer], NOW)

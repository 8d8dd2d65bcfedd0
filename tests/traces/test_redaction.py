"""Secrets do not reach the disk, and every length stays what Content-Length says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.traces.redaction import mask_numbers, may_hold_secrets, redact

SECRET = b"hunter2hunter2"


@pytest.mark.parametrize(
    "line",
    [
        b'Authorization: Digest username="a", response="hunter2hunter2"',
        b"proxy-authorization:Basic hunter2hunter2",
        b"X-Api-Key: hunter2hunter2",
        b"X-Agent-Token:\thunter2hunter2",
        b"Cookie: session=hunter2hunter2",
        b"X-Anything: Bearer hunter2hunter2",
        b"Authorization: Digest a=b,\r\n  response=hunter2hunter2",
        b"Contact: <sip:bot:hunter2hunter2@192.0.2.1>",
        b"Refer-To: <sip:bot@192.0.2.1;token=hunter2hunter2>",
        b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:hunter2hunter2|2^20|1:32",
        b"a=ice-pwd:hunter2hunter2",
    ],
)
def test_secrets_are_starred_out(line: bytes) -> None:
    message = b"INVITE sip:a@b SIP/2.0\r\nVia: x\r\n" + line + b"\r\nCall-ID: 1\r\n\r\nv=0\r\n"
    assert may_hold_secrets(message) or b":" in line
    cleaned = redact(message)
    assert SECRET not in cleaned
    assert len(cleaned) == len(message)
    assert b"\r\nCall-ID: 1\r\n\r\nv=0\r\n" in cleaned


def test_what_is_no_secret_stays() -> None:
    message = b"INVITE sip:+14155550100@h SIP/2.0\r\nCall-ID: 7d@h\r\nContact: <sip:a@h:5060>\r\n\r\n"
    assert redact(message) == message


@given(st.binary(max_size=300))
def test_any_bytes_keep_their_length(data: bytes) -> None:
    assert len(redact(data)) == len(data)
    assert len(mask_numbers(data)) == len(data)


def test_numbers_are_masked_but_where_messages_are_told_apart_by_them() -> None:
    message = (
        b"INVITE sip:+14155550100@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK14155550100\r\n"
        b"From: <sip:+14155550142@h>\r\nCall-ID: 14155550100@h\r\nContent-Length: 0\r\n\r\nbody 14155550100"
    )
    masked = mask_numbers(message)
    assert b"sip:**********00@h" in masked
    assert b"<sip:**********42@h>" in masked
    assert b"Call-ID: 14155550100@h" in masked
    assert b"branch=z9hG4bK14155550100" in masked

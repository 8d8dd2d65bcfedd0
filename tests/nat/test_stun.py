"""STUN: test vectors of RFC 5769, answers that are wrong in every way, and any bytes at all."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.nat.stun import MAGIC_COOKIE, StunError, binding_request, mapped_address

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")

IPV4_ANSWER = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
"""RFC 5769 §2.2."""

IPV6_ANSWER = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)
"""RFC 5769 §2.3."""


def response(*attributes: tuple[int, bytes], kind: int = 0x0101, transaction: bytes = TRANSACTION) -> bytes:
    body = b"".join(
        struct.pack("!HH", name, len(value)) + value + bytes(-len(value) % 4) for name, value in attributes
    )
    return struct.pack("!HHI", kind, len(body), MAGIC_COOKIE) + transaction + body


def test_the_vectors_of_rfc_5769() -> None:
    assert mapped_address(IPV4_ANSWER, TRANSACTION) == "192.0.2.1"
    assert mapped_address(IPV6_ANSWER, TRANSACTION) == "2001:db8:1234:5678:11:2233:4455:6677"


def test_the_question_is_a_header_alone() -> None:
    question = binding_request(TRANSACTION)
    assert question == bytes.fromhex("000100002112a442") + TRANSACTION
    with pytest.raises(ValueError, match="12 bytes"):
        binding_request(b"short")


def test_a_server_of_rfc_3489_names_the_address_plainly() -> None:
    plain = b"\x00\x01\x12\x34" + ip_address("203.0.113.9").packed
    assert mapped_address(response((0x0001, plain)), TRANSACTION) == "203.0.113.9"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "too short"),
        (IPV4_ANSWER[:-1], "length"),
        (IPV4_ANSWER[:-4] + b"\x00\x00\x00\x00", "fingerprint"),
        (response(transaction=bytes(12)), "something else"),
        (response(), "no address"),
        (response((0x0020, b"\x00\x01\x12\x34\x01")), "cannot be read"),
        (response((0x0020, b"\x00\x03\x12\x34\x01\x02\x03\x04")), "cannot be read"),
        (response(kind=0x0001), "no binding response"),
        (response((0x0009, b"\x00\x00\x04\x14Go away"), kind=0x0111), "refused with 420 Go away"),
        (response(kind=0x0111), "refused with no reason"),
        (response((0x0009, b"\x00\x00\x04\x14\x1b[2J"), kind=0x0111), "^refused with 420$"),
        (struct.pack("!HHI", 0x0101, 4, MAGIC_COOKIE) + TRANSACTION + b"\x00\x20\x00\x08", "cut off"),
    ],
)
def test_what_is_no_answer_is_said_to_be_none(data: bytes, why: str) -> None:
    with pytest.raises(StunError, match=why):
        mapped_address(data, TRANSACTION)


@given(st.binary(max_size=200))
def test_any_bytes_give_an_address_or_its_own_error(data: bytes) -> None:
    for whole in (data, IPV4_ANSWER[:20] + data, response((0x0020, data))):
        try:
            ip_address(mapped_address(whole, TRANSACTION))
        except StunError:
            continue


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_every_address_comes_out_as_it_went_in(address, port) -> None:
    mask = struct.pack("!I", MAGIC_COOKIE) + TRANSACTION
    hidden = bytes(a ^ b for a, b in zip(address.packed, mask, strict=False))
    value = struct.pack("!BBH", 0, 1 if address.version == 4 else 2, port) + hidden
    assert mapped_address(response((0x0020, value)), TRANSACTION) == str(address)

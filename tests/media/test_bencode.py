"""Bencoding: what is written is read again, and nothing that is read raises anything but its own error."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.bencode import MAX_DEPTH, BencodeError, decode, encode

VALUES = st.recursive(
    st.integers(-(2**63), 2**63) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read(value):
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"command": "ping"}, b"d7:command4:pinge"),
        ({"b": 1, "a": ["x", b"\xff"]}, b"d1:al1:x1:\xffe1:bi1ee"),
        ("hé", b"3:h\xc3\xa9"),
        (-5, b"i-5e"),
    ],
)
def test_as_the_protocol_writes_it(value, written: bytes):
    assert encode(value) == written


@given(st.binary(max_size=60) | st.text("ilde0123456789:-", max_size=60).map(str.encode))
def test_nothing_else_is_raised(data: bytes):
    with contextlib.suppress(BencodeError):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"i1",
        b"ie",
        b"i--1e",
        b"i1ei2e",
        b"4:abc",
        b"-1:a",
        b"99999999999999999999999:a",
        b"i" + b"9" * 30 + b"e",
        b"l",
        b"d1:a",
        b"di1ei2ee",
        b"l" * (MAX_DEPTH + 1) + b"e" * (MAX_DEPTH + 1),
        b"x",
    ],
)
def test_what_is_refused(data: bytes):
    with pytest.raises(BencodeError):
        decode(data)


@given(VALUES, st.integers(0, 200))
def test_what_is_cut_off_is_refused(value, cut: int):
    written = encode(value)
    if cut < len(written):
        with pytest.raises(BencodeError):
            decode(written[:cut])

"""The parser in C makes of every message what the one in Python makes of it, or leaves it to that one."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.grammar import SipParseError
from gateway.sip.header_names import CANONICAL
from gateway.sip.message import MAX_HEADER_BYTES, PlainHead, careful_head
from scripts.compiled_wheel import compile_extensions
from tests.fuzz.targets import mutated

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
MUTATIONS = 3_000

Parser = Callable[[bytes], PlainHead | None]


@pytest.fixture(scope="module")
def plain_head(tmp_path_factory: pytest.TempPathFactory) -> Parser:
    """That of the compiled wheel, made here from the same source with the same flags."""
    work = tmp_path_factory.mktemp("plain-head")
    compile_extensions(ROOT, work, ["gateway/sip/plain_head.c"])
    built = work / "wheel" / "gateway" / "sip" / f"plain_head{EXTENSION_SUFFIXES[0]}"
    spec = importlib.util.spec_from_file_location("plain_head", built)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parser: Parser = module.plain_head
    return parser


def known_messages() -> list[bytes]:
    """RFC 4475's and 5118's, what fuzzing has kept, and what carriers send."""
    folders = ("torture", "fuzz/message", "fuzz/user_agent", "carriers")
    found = [path for folder in folders for path in sorted((DATA / folder).rglob("*")) if path.is_file()]
    return [path.read_bytes() for path in found]


def same(parser: Parser, data: bytes) -> bool:
    """Whether it was taken; fails if what was taken is not what Python takes."""
    plain = parser(data)
    if plain is None:
        return False
    start, headers, body, fault = careful_head(data)  # raises what C should have left to it
    assert fault is None
    assert plain == (start, headers.items(), headers.first, body)
    return True


def test_known_messages_are_read_alike_and_most_of_them_are_plain(plain_head: Parser) -> None:
    taken = [same(plain_head, data) for data in known_messages()]
    assert sum(taken) > len(taken) / 2


def test_mutated_messages_are_read_alike(plain_head: Parser) -> None:
    messages, dice = known_messages(), random.Random(8)
    taken = [
        same(plain_head, mutated(dice.choice(messages), dice.choice(messages), dice))
        for _ in range(MUTATIONS)
    ]
    assert any(taken)
    assert not all(taken)


PIECES = st.sampled_from(
    b"\r\n|\r|\n|: |:| |\t|\0|\xff|\xc3\xa4|\xe2\x84\xaa|x|k|Via|vIA|FROM: a|From: b|Subject|SIP/2.0 200 OK"
    b"|INVITE sip:a SIP/2.0|\r\n\r\n".split(b"|")
)


@given(pieces=st.lists(PIECES, max_size=24))
def test_whatever_is_made_of_the_same_pieces_is_read_alike(plain_head: Parser, pieces: list[bytes]) -> None:
    same_or_refused(plain_head, b"".join(pieces))


@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_alike(plain_head: Parser, data: bytes) -> None:
    same_or_refused(plain_head, data)


def same_or_refused(parser: Parser, data: bytes) -> None:
    assert parser(data) is None or same(parser, data)


@pytest.mark.parametrize("spelling", sorted(CANONICAL))
def test_every_known_name_is_canonical_in_any_case(plain_head: Parser, spelling: str) -> None:
    for name in (spelling, spelling.swapcase(), spelling.title()):
        assert same(plain_head, f"OPTIONS sip:a SIP/2.0\r\n{name}\t :  x y \t\r\n\r\nbody".encode())


NOT_PLAIN = {
    "folded": b"A: b\r\n c\r\n\r\n",
    "space before the name": b" A: b\r\n\r\n",
    "no colon": b"Via\r\n\r\n",
    "no token": b"A(b): c\r\n\r\n",
    "name that is one in lower case only": b"\xe2\x84\xaa: path\r\n\r\n",
    "no end": b"A: b\r\n",
    "stray CR": b"A: b\rc\r\n\r\n",
    "stray LF": b"A: b\nc\r\n\r\n",
    "two From": b"From: a\r\nf: b\r\n\r\n",
    "many lines": b"A: b\r\n" * 64 + b"\r\n",
    "long lines": b"A: " + b"b" * 8192 + b"\r\n\r\n",
}


@pytest.mark.parametrize("lines", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_whatever_is_not_plain_is_left_to_python(plain_head: Parser, lines: bytes) -> None:
    assert plain_head(b"OPTIONS sip:a SIP/2.0\r\n" + lines) is None


def test_what_python_refuses_for_its_size_is_not_taken(plain_head: Parser) -> None:
    data = b"OPTIONS sip:a SIP/2.0\r\nA: " + b"b" * MAX_HEADER_BYTES + b"\r\n\r\n"
    assert plain_head(data) is None
    with pytest.raises(SipParseError, match="too long"):
        careful_head(data)


def test_a_body_may_hold_anything(plain_head: Parser) -> None:
    body = b"\r\n\r\n\0\n: \xff" + b"x" * 60_000
    plain = plain_head(b"\r\n\r\nOPTIONS sip:a SIP/2.0\r\n\r\n" + body)
    assert plain == ("OPTIONS sip:a SIP/2.0", [], {}, body)


def test_a_message_is_bytes(plain_head: Parser) -> None:
    with pytest.raises(TypeError):
        plain_head("INVITE")  # type: ignore[arg-type]

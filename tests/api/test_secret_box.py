from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.secret_box import MAX_KEYS, SecretBox, SecretKeyError, load_keys, new_key, parse_keys, save_keys

OLD = bytes(range(32))
NEW = bytes(range(100, 132))
SECRET = b"hunter2-of-the-trunk"


def text_of(*keys: bytes) -> str:
    return ",".join(base64.b64encode(key).decode() for key in keys)


@given(st.binary(max_size=200), st.text(max_size=40))
def test_what_is_sealed_opens(secret: bytes, owner: str) -> None:
    box = SecretBox([OLD])
    sealed = box.seal(secret, owner)
    assert box.open(sealed, owner) == secret
    assert SecretBox([OLD]).open(sealed, owner) == secret  # the key is all that it takes


def test_what_is_sealed_shows_nothing_and_is_different_each_time() -> None:
    box = SecretBox([OLD])
    sealed = [box.seal(SECRET, "number:phn_one") for _ in range(50)]
    assert len(set(sealed)) == 50
    assert not any(SECRET[:7] in each for each in sealed)


def test_every_bit_is_guarded() -> None:
    box = SecretBox([OLD])
    sealed = box.seal(SECRET, "number:phn_one")
    for index in range(len(sealed)):
        for bit in range(8):
            damaged = bytearray(sealed)
            damaged[index] ^= 1 << bit
            with pytest.raises(SecretKeyError):
                box.open(bytes(damaged), "number:phn_one")


@pytest.mark.parametrize("more", [False, True])
def test_every_length_is_guarded(more: bool) -> None:
    box = SecretBox([OLD])
    sealed = box.seal(SECRET, "number:phn_one")
    others = [sealed + bytes(1)] if more else [sealed[:length] for length in range(len(sealed))]
    for each in others:
        with pytest.raises(SecretKeyError):
            box.open(each, "number:phn_one")


@given(st.binary(max_size=80))
def test_anything_else_is_refused(sealed: bytes) -> None:
    with pytest.raises(SecretKeyError):
        SecretBox([OLD]).open(sealed, "number:phn_one")


def test_a_secret_does_not_open_for_somebody_else() -> None:
    box = SecretBox([OLD])
    sealed = box.seal(SECRET, "number:phn_one")
    for owner in ("number:phn_two", "integration:phn_one", "number:phn_one ", ""):
        with pytest.raises(SecretKeyError, match="damaged"):
            box.open(sealed, owner)


def test_a_key_is_replaced_while_the_old_one_still_opens() -> None:
    before, during, after = SecretBox([OLD]), SecretBox([NEW, OLD]), SecretBox([NEW])
    old = before.seal(SECRET, "one")
    assert during.open(old, "one") == SECRET
    assert not during.is_current(old)
    new = during.seal(SECRET, "one")
    assert during.is_current(new)
    assert after.open(new, "one") == SECRET
    with pytest.raises(SecretKeyError, match="sealed with a key that is not here"):
        after.open(old, "one")
    with pytest.raises(SecretKeyError, match="sealed with a key that is not here"):
        before.open(new, "one")


def test_a_box_takes_other_keys_while_it_is_used() -> None:
    box = SecretBox([OLD])
    old = box.seal(SECRET, "one")
    box.use([NEW, OLD])
    assert box.open(old, "one") == SECRET
    assert SecretBox([NEW]).open(box.seal(SECRET, "one"), "one") == SECRET
    assert not box.is_current(old)


def test_no_secret_is_told() -> None:
    box = SecretBox([OLD, NEW])
    assert repr(box) == str(box) == "SecretBox(2 keys)"
    sealed = bytearray(box.seal(SECRET, "number:phn_one"))
    sealed[-1] ^= 1
    with pytest.raises(SecretKeyError, match="number:phn_one") as refused:
        box.open(bytes(sealed), "number:phn_one")
    assert SECRET.decode() not in str(refused.value)


# Keys as text.


@given(
    st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=MAX_KEYS), st.sampled_from(",\n \t")
)
def test_keys_are_read_in_order_in_either_alphabet(keys: list[bytes], between: str) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = between.join(encode(key).decode() for key in keys)
        assert parse_keys(f" {text}\n", "api.secret_key") == keys


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "expected 1 to 8 keys, found 0"),
        (" ,\n", "expected 1 to 8 keys, found 0"),
        (text_of(*[OLD] * 9), "expected 1 to 8 keys, found 9"),
        (text_of(OLD[:31]), "a key has 32 bytes, this one 31"),
        (text_of(OLD + b"x"), "a key has 32 bytes, this one 33"),
        (text_of(OLD) + ",correct-horse-battery!", "not base64"),
        ("correct horse battery staple", "not base64|a key has 32 bytes"),
        (text_of(OLD)[:-1], "not base64"),
        ("clé" + text_of(OLD), "not base64"),
        ("+-" + text_of(OLD), "not base64"),
    ],
)
def test_other_texts_are_refused_without_repeating_them(text: str, fault: str) -> None:
    with pytest.raises(SecretKeyError, match=f"^api.secret_key: ({fault})") as refused:
        parse_keys(text, "api.secret_key")
    words = [word for word in text.replace(",", " ").split() if len(word) > 3]
    assert not [word for word in words if word in str(refused.value)]


@given(st.text(max_size=60))
def test_any_text_is_keys_or_an_error_that_says_so(text: str) -> None:
    try:
        keys = parse_keys(text, "api.secret_key")
    except SecretKeyError as error:
        assert str(error).startswith("api.secret_key: ")
    else:
        assert {len(key) for key in keys} == {32}


# Keys in a file.


def test_a_key_file_is_made_once_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    umask = os.umask(0)
    try:
        keys = load_keys(path)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [len(key) for key in keys] == [32]
    assert load_keys(path) == keys
    assert list(tmp_path.iterdir()) == [path]


def test_all_who_make_a_key_file_at_once_get_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: load_keys(path), range(8)))
    assert all(keys == found[0] for keys in found)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o601, 0o644])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret.key"
    load_keys(path)
    path.chmod(mode)
    with pytest.raises(SecretKeyError, match=f"others may read it: chmod 600 {path}"):
        load_keys(path)
    path.chmod(0o400)
    load_keys(path)


def test_a_damaged_key_file_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    path.write_bytes(b"\xff\xfe" + os.urandom(40))
    path.chmod(0o600)
    with pytest.raises(SecretKeyError, match=str(path)):
        load_keys(path)


def test_a_key_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    old = load_keys(path)
    fresh = [new_key(), *old]
    (tmp_path / "secret.key.new").write_text("left by a crash")
    save_keys(path, fresh)
    assert load_keys(path) == fresh
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_keys_are_never_the_same() -> None:
    assert len({new_key() for _ in range(100)}) == 100

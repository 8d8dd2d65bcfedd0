from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.audio import decode_wav
from gateway.speech.store import MessageStore, message_key

KEY, OTHER, THIRD = (message_key("e", text) for text in "abc")


def test_what_is_saved_can_be_loaded_also_by_another_process(tmp_path: Path) -> None:
    MessageStore(tmp_path / "made" / "for it", 10**6).save(KEY, b"\1\2" * 100)
    again = MessageStore(tmp_path / "made" / "for it", 10**6)
    assert again.load(KEY) == b"\1\2" * 100
    assert again.load(OTHER) is None


def test_files_are_wav_that_anybody_can_play(tmp_path: Path) -> None:
    MessageStore(tmp_path, 10**6).save(KEY, b"\1\2" * 100)
    (file,) = tmp_path.iterdir()
    assert file.name == f"{KEY}.wav"
    assert decode_wav(file.read_bytes()) == b"\1\2" * 100


@pytest.mark.parametrize("damage", [b"", b"RIFF", b"junk" * 20, None])
def test_a_damaged_file_is_removed_and_not_played(tmp_path: Path, damage: bytes | None) -> None:
    store = MessageStore(tmp_path, 10**6)
    store.save(KEY, b"\1\2" * 100)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-10] if damage is None else damage)
    assert store.load(KEY) is None
    assert not file.exists()


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    store = MessageStore(tmp_path, 2500)
    for age, key in ((300, KEY), (200, OTHER)):
        store.save(key, bytes(1000))
        os.utime(tmp_path / f"{key}.wav", (10**9 - age, 10**9 - age))
    assert store.load(KEY) is not None  # and is now the youngest
    store.save(THIRD, bytes(1000))
    assert store.load(OTHER) is None
    assert store.load(KEY) is not None
    assert store.load(THIRD) is not None


def test_the_limit_holds_over_many_saves_and_restarts(tmp_path: Path) -> None:
    for run in range(3):
        store = MessageStore(tmp_path, 20_000)
        for number in range(40):
            store.save(message_key("e", f"{run}.{number}"), bytes(1000))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 20_000 + 1044


def test_a_failed_save_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    store = MessageStore(tmp_path, 10**6)
    with pytest.raises(OSError, match="No space left"):
        store.save(KEY, bytes(100))
    assert list(tmp_path.iterdir()) == []
    assert store.load(KEY) is None


@given(st.text(), st.text(), st.text(), st.text())
def test_keys_tell_everything_apart(identity: str, text: str, identity2: str, text2: str) -> None:
    same = (identity, text) == (identity2, text2)
    assert (message_key(identity, text) == message_key(identity2, text2)) is same


def test_a_boundary_moved_between_identity_and_text_is_another_key() -> None:
    assert message_key("ab", "c") != message_key("a", "bc")
    assert message_key("1:a", "b") != message_key("1", ":ab")
    assert len(message_key("e", "\ud800")) == 64

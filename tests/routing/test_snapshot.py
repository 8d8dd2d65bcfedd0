"""The last routes on disk: whole, or reported and ignored."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing import snapshot
from routing.view import RouteView
from tests.routing.conftest import a_number, an_agent, put


def a_view() -> RouteView:
    view = RouteView("epoch-one", 42, "mark")
    for change in put(a_number(0), a_number(1, message="Grüße"), an_agent()):
        view.apply(change)
    return view


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "data" / "routes.snapshot"
    snapshot.save(path, a_view())
    loaded = snapshot.load(path)
    assert loaded is not None
    assert (loaded.epoch, loaded.revision, loaded.mark, len(loaded)) == ("epoch-one", 42, "mark", 2)
    assert list(loaded.parts()) == list(a_view().parts())
    assert loaded.number("+14155550101") == a_number(1, message="Grüße")
    assert loaded.get("agt_one") == an_agent()


def test_no_file_is_no_snapshot(tmp_path: Path) -> None:
    assert snapshot.load(tmp_path / "none") is None


def test_a_save_replaces_the_last_one_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "routes.snapshot"
    snapshot.save(path, a_view())
    snapshot.save(path, RouteView("epoch-two", 1))
    loaded = snapshot.load(path)
    assert loaded is not None
    assert (loaded.epoch, len(loaded)) == ("epoch-two", 0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["routes.snapshot"]


def test_a_save_that_fails_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "routes.snapshot"
    snapshot.save(path, a_view())

    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot.os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        snapshot.save(path, RouteView("epoch-two", 1))
    loaded = snapshot.load(path)
    assert loaded is not None
    assert loaded.epoch == "epoch-one"


@settings(deadline=None)  # the disk takes what it takes
@given(data=st.data())
def test_damage_anywhere_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("damage") / "routes.snapshot"
    snapshot.save(path, a_view())
    good = path.read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    flipped = bytes([good[at] ^ data.draw(st.integers(1, 255))])
    damaged = data.draw(st.sampled_from([good[:at], good[:at] + flipped + good[at + 1 :], good + flipped]))
    path.write_bytes(damaged)
    with pytest.raises(snapshot.SnapshotError, match="ignored"):
        snapshot.load(path)

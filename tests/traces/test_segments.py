"""Traces on disk: found by time, bounded in size, readable after a crash."""

from __future__ import annotations

from pathlib import Path

from gateway.traces.segments import PARTS, Block, Entry, Segments, decode, encode


def entry(at: float, data: bytes = b"OPTIONS") -> Entry:
    return Entry(at, True, "udp", "192.0.2.1", 5060, "10.0.0.1", 5060, data)


def written(directory: Path, room: int = 10**6) -> Segments:
    segments = Segments(directory, room)
    segments.open()
    return segments


def put(segments: Segments, at: float, data: bytes = b"OPTIONS") -> None:
    segments.append([Block(encode([entry(at, data)]), at, at)])


def times(segments: Segments, since: float = 0.0, until: float = 1e12) -> list[float]:
    return [each.at for block in segments.blocks(since, until) for each in decode(block)]


def test_blocks_are_found_by_time(tmp_path: Path) -> None:
    segments = written(tmp_path)
    for at in (1.0, 2.0, 3.0):
        put(segments, at)
    assert times(segments) == [1.0, 2.0, 3.0]
    assert times(segments, 1.5, 2.5) == [2.0]
    assert times(segments, 4.0) == []


def test_the_next_process_finds_what_the_last_one_wrote(tmp_path: Path) -> None:
    put(written(tmp_path), 1.0)
    segments = written(tmp_path)
    put(segments, 2.0)
    assert times(segments) == [1.0, 2.0]
    assert (tmp_path.stat().st_mode & 0o077) in {0o055, 0}  # pytest made the directory itself


def test_the_oldest_make_room_and_the_newest_stay(tmp_path: Path) -> None:
    room = 64_000
    segments = written(tmp_path, room)
    for at in range(1, 400):
        put(segments, float(at), bytes(500))
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size <= room
    assert size > room - 3 * room // PARTS
    kept = times(segments)
    assert kept[-1] == 399.0
    assert kept == sorted(kept)
    assert kept[0] > 1.0


def test_blocks_of_one_round_are_shared_out_among_segments(tmp_path: Path) -> None:
    segments = written(tmp_path, 64_000)
    segments.append([Block(encode([entry(float(at), bytes(500))]), at, at) for at in range(1, 21)])
    assert times(segments) == [float(at) for at in range(1, 21)]
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert len(sizes) > 2
    assert max(sizes) <= 64_000 // PARTS + 600


def test_what_a_kill_cut_off_is_passed_over(tmp_path: Path) -> None:
    segments = written(tmp_path)
    put(segments, 1.0)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-3])
    again = written(tmp_path)
    put(again, 2.0)
    assert times(again) == [1.0, 2.0]


def test_rubbish_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "00000001.trace").write_bytes(b"\xff" * 100)
    (tmp_path / "notes.trace").write_bytes(b"hello")
    segments = written(tmp_path)
    put(segments, 5.0)
    assert times(segments) == [5.0]
    assert decode(b"\xc1") == []
